"""Run the tests with other versions of Python and PyTorch, for docs/reliability.md.

    python scripts/test_versions.py                                      the oldest and the newest supported versions
    python scripts/test_versions.py 3.10 2.4.1 0.19.1                    versions of Python, torch, torchvision
    python scripts/test_versions.py 3.10 2.4.1 0.19.1 tests/storage      with options for pytest

Makes an environment (about 6 GB) from requirements-test.txt, runs pytest in it and removes it. With --envs FOLDER it is
made there and kept for the next call. Prints a table with a row per environment: versions, outcomes, minutes, command.
Exit status 1 if a test failed. Needs a Python of each version, on the PATH or from pyenv.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[1]
VERSIONS = [("3.10", "2.4.1", "0.19.1"), ("3.14", "2.15.0", "0.29.2")]  # the oldest, the newest
PARALLEL = ["-n", "2", "--dist", "loadfile"]
HEADER = """\
| Python | torch | torchvision | passed | skipped | failed | minutes | command |
|---|---|---|--:|--:|--:|--:|---|"""


def find_python(version: str) -> str:
    """The interpreter of a version "3.x". Raises ValueError if there is none."""
    found = shutil.which(f"python{version}")
    pyenv = Path(os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv")), "versions")
    # What is found must run: pyenv puts stand-ins for other versions on the PATH, which only print an error.
    for candidate in [found, *sorted(map(str, pyenv.glob(f"{version}.*/bin/python")), reverse=True)]:
        if candidate and subprocess.run([candidate, "-c", ""], capture_output=True).returncode == 0:
            return candidate
    raise ValueError(f"no Python {version} on the PATH or in {pyenv}")


def make_environment(folder: Path, version: str, torch: str, torchvision: str) -> Path:
    """The Python of an environment with what the tests need, which is made in `folder` unless it exists."""
    python = folder / "bin/python"
    if not (folder / "complete").is_file():
        subprocess.run([find_python(version), "-m", "venv", "--clear", folder], check=True)
        requirements = ["-r", PROJECT_ROOT / "requirements-test.txt", f"torch=={torch}", f"torchvision=={torchvision}"]
        if tuple(map(int, torch.split(".")[:2])) < (2, 6):
            requirements.append("transformers<5")  # later ones ignore an older PyTorch
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
        (folder / "complete").touch()
    return python


def run_tests(python: Path, options: list[str], report: Path) -> None:
    """Run pytest, which writes a report in JUnit's format. Each process has one thread, as in scripts/test.sh."""
    # Scripts that the tests start look for `python` on the PATH.
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHON": str(python), "PATH": path}
    # The tests write into a folder of their own: pytest's default is removed after three more runs.
    files = [f"--junitxml={report}", f"--basetemp={report.parent / 'tests'}"]
    command = [python, "-m", "pytest", "-p", "no:cacheprovider", *files, *options]
    subprocess.run(command, cwd=PROJECT_ROOT, env=environment)


def outcomes(report: Path) -> dict[str, int]:
    """Numbers of tests "passed", "skipped" and "failed" in a report in JUnit's format; errors count as failed."""
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    tests, skipped, failures, errors = (
        sum(int(suite.get(name, 0)) for suite in suites) for name in ("tests", "skipped", "failures", "errors")
    )
    return {"passed": tests - skipped - failures - errors, "skipped": skipped, "failed": failures + errors}


def row(versions: tuple[str, str, str], found: dict[str, int], seconds: float, options: list[str]) -> str:
    numbers = [f"{found[name]:,}" for name in ("passed", "skipped", "failed")]
    return f"| {' | '.join([*versions, *numbers, f'{seconds / 60:.0f}', f'`pytest {shlex.join(options)}`'])} |"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="*", help="versions of Python, torch and torchvision (default: two sets)")
    parser.add_argument(
        "--envs", type=Path, help="folder in which to keep the environments (default: they are removed)"
    )
    args, options = parser.parse_known_args(argv)
    versions, options = args.versions[:3], [*args.versions[3:], *options]
    if versions and not (len(versions) == 3 and all(re.fullmatch(r"\d+(\.\d+)+", version) for version in versions)):
        parser.error("give the versions of Python, torch and torchvision, as in 3.10 2.4.1 0.19.1, or none")
    options = [*PARALLEL, *options]
    rows, failed = [], 0
    for wanted in [tuple(versions)] if versions else VERSIONS:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(args.envs or folder, "-".join(wanted)).absolute()
            python, report = make_environment(place, *wanted), Path(folder, "report.xml")
            start = time.monotonic()
            run_tests(python, options, report)
            found = outcomes(report)
        rows.append(row(wanted, found, time.monotonic() - start, options))
        failed += found["failed"]
    print(HEADER, *rows, sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {error}")
