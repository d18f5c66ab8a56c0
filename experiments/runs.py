"""What a sweep calls in other processes. These functions alone import train.py, where they are called."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evaluation.records import FILE_NAME as RESULTS
from storage import holder, write_atomically

ROOT = Path(__file__).resolve().parents[1]
FAILURE = "failure.txt"  # of a run that failed: what happened in the first line, then its output
BUSY = 75  # the status of a call whose run folder another process holds
LINES = 20  # of a failed run's output to show
MOST_OUTPUT = 200_000  # characters of it to keep


class TrainRun:
    """A call of train.py as a function that can be sent to another machine.

    Args:
        arguments: of train.py.
        folder: run folder, in which a failure is noted. The output goes to the file beside it, <folder>.log.
    """

    def __init__(self, arguments: Sequence[str], folder: Path) -> None:
        self.arguments, self.folder = list(arguments), folder

    def __call__(self) -> int:
        """Run it in this process, of which it is the whole; returns the exit status, or BUSY."""
        if (self.folder / RESULTS).is_file():
            return 0  # it was made elsewhere, while this call waited
        if holder(self.folder):
            return BUSY
        log = log_of(self.folder)
        log.parent.mkdir(parents=True, exist_ok=True)
        (self.folder / FAILURE).unlink(missing_ok=True)
        with output_in(log):
            os.chdir(ROOT)
            status = self._train()
        if status:
            note_failure(self.folder, f"exit status {status}")
        log.unlink(missing_ok=True)
        return status

    def _train(self) -> int:
        if str(ROOT) not in sys.path:
            sys.path.insert(0, str(ROOT))
        import train

        try:
            return train.main(self.arguments)
        except SystemExit as error:  # argparse's, and that of a job that goes back into the queue
            if not isinstance(error.code, int) or error.code not in (0, 1, 2):
                raise
            return error.code
        except Exception:
            import traceback

            traceback.print_exc()
            return 1

    def checkpoint(self) -> Any:
        """What SLURM is to run after a pre-emption: the same call, which resumes from the run's own checkpoint."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def log_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.log")


@contextlib.contextmanager
def output_in(log: Path):
    """Send all output of this process, and of those that it starts, into a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    before = os.dup(1), os.dup(2)
    try:
        with open(log, "wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, saved in enumerate(before, 1):
            os.dup2(saved, number)
            os.close(saved)


def note_failure(folder: Path, what: str) -> None:
    """Keep what a failed run said, as <folder>/failure.txt in place of its log; but not twice."""
    log, note = log_of(folder), folder / FAILURE
    if log.is_file() or not note.is_file():
        output = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(note, f"{what}\n{output[-MOST_OUTPUT:]}")
        log.unlink(missing_ok=True)


def failure_of(folder: Path, lines: int = LINES) -> tuple[str, list[str]]:
    """What happened to a failed run, and the last lines of its output; ("", []) if it did not fail."""
    note = folder / FAILURE
    if not note.is_file():
        return "", []
    what, *output = note.read_text(encoding="utf-8", errors="replace").splitlines()
    return what, [line for line in output if line.strip()][-lines:]


def device_names() -> list[str]:
    """The GPUs that runs may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    count = torch.cuda.device_count()
    return named[:count] or [str(i) for i in range(count)]


def benchmark_tasks(benchmark: str, root: str = "") -> list[str]:
    """The names of the tasks of configs/datasets/<benchmark>.yaml, in order; those of folders are read below `root`.

    Raises ValueError and FileNotFoundError as `task_names` does.
    """
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    import train
    from datasets.multitask import task_names

    file = str(ROOT / "configs" / "datasets" / f"{benchmark}.yaml")
    cfg = train.setup_cfg(train.parse_args(["--dataset-config-file", file, "--root", root]))
    try:
        return task_names(cfg)
    except ValueError as error:
        raise ValueError(f"{benchmark}: {error}") from error
