"""Files that appear complete or not at all."""

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

# results.json comes last.
RUN_FILES = ("config.yaml", "log.txt", "shots.json", "prompt_learner", "tensorboard", "predictions.csv.gz")


def write_atomically(path: str | os.PathLike, content: str | bytes) -> None:
    """Write a file, text in UTF-8, through a temporary one beside it, of which a failure leaves nothing behind."""
    path = Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
