"""The folder of a run: the names of its files, creating and clearing it."""

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from .atomic import remove_left_behind

PROMPTS = "prompt_learner"  # the folder of the checkpoints
CHECKPOINT = f"{PROMPTS}/checkpoint"  # names the last one
FAILURE_FILE = "failure.json"  # after a loss that was not finite: the step, its images and its numbers
# results.json is not among them: it marks a finished run. Only runs on users' own folders have a split.csv.
RUN_FILES = (
    "config.yaml",
    "log.txt",
    "shots.json",
    "data.json",
    "classes.json",
    "split.csv",
    PROMPTS,
    "tensorboard",
    "predictions.csv.gz",
    FAILURE_FILE,
)


def make_run_folder(folder: Path) -> list[Path]:
    """Create a run's folder; returns the new folders, innermost first. Raises OSError, naming the flag."""
    new = [path for path in (folder, *folder.parents) if not os.path.exists(path)]  # unlike Path.exists, never raises
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        remove_empty(new)
        raise type(error)(f"--output-dir: cannot create the folder {folder} ({error.strerror or error})") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"--output-dir: no permission to write into {folder}")
    return new


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove those of the folders, innermost first, that are there and empty."""
    for path in folders:
        with contextlib.suppress(OSError):
            path.rmdir()


def remove_run(folder: Path) -> None:
    """Remove the files of a run that has nothing to resume, but not its folder."""
    for name in RUN_FILES:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def remove_temporaries(folder: Path) -> None:
    """Remove the half-written files of killed processes from a run's folder, and nothing else."""
    for place in (folder, folder / PROMPTS):
        remove_left_behind(place)
