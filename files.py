"""Files: those of a run, config files with bases, and writing that leaves a file complete or not at all."""

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BASE_KEY = "_BASE_"  # of a config file: the file, or list of files, that it starts from, relative to its own folder
FAILURE_FILE = "failure.json"  # of a training whose loss was not finite: the step, its images and its numbers
# results.json comes last. Only runs on folders of one's own keep a split.csv.
RUN_FILES = (
    "config.yaml",
    "log.txt",
    "shots.json",
    "classes.json",
    "split.csv",
    "prompt_learner",
    "tensorboard",
    "predictions.csv.gz",
    FAILURE_FILE,
)


def write_atomically(path: str | os.PathLike, content: str | bytes) -> None:
    """Write a file, text in UTF-8, through a temporary one beside it, of which a failure leaves nothing behind.

    Raises OSError, naming the file and the space that it needs, where it cannot be written; what was there stays.
    """
    path = Path(path)
    content = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        what = f"{path} cannot be written ({len(content):,} bytes): {error.strerror or error}"
        raise type(error)(what) from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(folder: Path) -> None:
    """Remove what killed processes left half-written in a run's folder, which no other process may be at work in."""
    for name in ("*.tmp", ".*.tmp-*"):
        for path in (*folder.glob(name), *folder.glob(f"prompt_learner/{name}")):
            path.unlink(missing_ok=True)


def make_run_folder(folder: Path) -> list[Path]:
    """Make a run's folder, and return the folders that are new, innermost first. Raises OSError, naming the flag."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(f"--output-dir: the folder {folder} cannot be made ({error.strerror or error})") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"--output-dir: no permission to write into {folder}")
    return new


def remove_run(folder: Path, new_folders: Sequence[Path]) -> None:
    """Remove what a failed run that has nothing to resume left: its files, and the folders made for it, innermost
    first, as long as nothing of others is in them."""
    for name in RUN_FILES:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        for path in new_folders:
            path.rmdir()


def read_config(path: str | os.PathLike, chain: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The content of a YAML config file, merged into that of its bases; of several, later ones win.

    Raises:
        FileNotFoundError: no such file, with those beside it.
        ValueError: no mapping, or a file that is its own base, with the way that leads back.
        yaml.YAMLError: no YAML.
    """
    import yaml

    path = Path(path)
    if not path.is_file():
        near = sorted(file.stem for file in path.parent.glob("*.yaml")) or ["no such folder"]
        raise FileNotFoundError(f"no config file {path}; in {path.parent}: {', '.join(near)}")
    chain = (*chain, path.resolve())
    if len(set(chain)) < len(chain):
        raise ValueError(f"{BASE_KEY} leads back to the same file: {' -> '.join(map(str, chain))}")
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    if not isinstance(content, dict):
        where = f"its base {path}: " if len(chain) > 1 else ""
        raise ValueError(f"{where}expected keys and values, found {content!r}")
    bases = content.pop(BASE_KEY, [])
    merged: dict[str, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        merged = _merged(merged, read_config(path.parent / str(base), chain))
    return _merged(merged, content)


def _merged(first: dict, second: dict) -> dict:
    """A nested dictionary with the values of both, those of the second where both have one."""
    both = {key: _merged(first[key], second[key]) for key in first.keys() & second.keys()
            if isinstance(first[key], dict) and isinstance(second[key], dict)}  # fmt: skip
    return {**first, **second, **both}
