"""What the numbers of a run depend on besides its config: commit, software versions and command."""

import importlib.metadata
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[2]


def software_versions() -> dict[str, str]:
    """Versions of Python and of the packages that the numbers depend on; "" for a package that is not installed."""
    clip = next((name for name in ("clip-anytorch", "openai-clip", "clip") if _installed(name)), "")
    return {
        "python": platform.python_version(),
        "torch": _installed("torch"),
        "torchvision": _installed("torchvision"),
        "clip": f"{clip} {_installed(clip)}".strip() if clip else "",
        "dassl": _dassl(),
        "softcpt": _project_version(),
    }


def _installed(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _dassl() -> str:
    """The version of the loaded Dassl, and whether it is the project's own or an installed one."""
    module = sys.modules.get("dassl")
    if module is None:
        return ""
    own = PROJECT_ROOT in Path(module.__file__ or "").resolve().parents
    return f"{getattr(module, '__version__', '')} ({'compat' if own else 'installed'})".strip()


def _project_version() -> str:
    file = PROJECT_ROOT / "pyproject.toml"
    found = re.search(r'^version = "([^"]+)"', file.read_text(encoding="utf-8"), re.M) if file.is_file() else None
    return found.group(1) if found else ""


def git_commit(folder: str | os.PathLike = PROJECT_ROOT) -> str:
    """The commit checked out at `folder`, followed by "+dirty" if tracked files differ; "" without git."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    return commit + ("+dirty" if git("status", "--porcelain", "--untracked-files=no") else "") if commit else ""


def command_line(argv: Sequence[str]) -> str:
    """The call of train.py with these arguments, in the project's root."""
    world = os.environ.get("WORLD_SIZE", "1")
    several = world.isdecimal() and int(world) > 1
    return shlex.join([*(["torchrun", f"--nproc_per_node={world}"] if several else ["python"]), "train.py", *argv])
