"""One run of a sweep: a call of train.py, which this module imports only when it is called."""

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from softcpt.evaluation.provenance import PROJECT_ROOT as ROOT
from softcpt.files import holder
from softcpt.sweeps.failures import FAILURE, log_of, note_failure

BUSY = 75  # status of a call whose run folder another process holds


@dataclass
class TrainRun:
    """A call of train.py that can be sent to another process or machine.

    Args:
        arguments: of train.py.
        folder: run folder. The output goes to <folder>.log beside it, and after a failure to failure.txt in it.
    """

    arguments: list[str]
    folder: Path

    def __call__(self) -> int:
        """Make the whole run in this process; returns its exit status, or BUSY. If another process has made it while
        this call waited, train.py compares the two."""
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
        train = import_train()
        try:
            return train.main(self.arguments)
        except SystemExit as error:  # from argparse, or from a job that goes back into the queue
            if not isinstance(error.code, int) or error.code not in (0, 1, 2):
                raise
            return error.code
        except Exception:
            import traceback

            traceback.print_exc()
            return 1

    def checkpoint(self) -> Any:
        """The call to make after a pre-emption by SLURM: the same one, which resumes from the run's checkpoint."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def import_train() -> ModuleType:
    """The module train, and with it PyTorch."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    import train

    return train


@contextlib.contextmanager
def output_in(log: Path):
    """Send the output of this process and its children to a file."""
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
