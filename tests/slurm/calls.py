"""What the tests submit, in a module that jobs can import."""

import os
import time
from pathlib import Path


def double(number):
    return 2 * number


def fail():
    raise ValueError("not today")


def job_id():
    return os.environ["SLURM_JOB_ID"], os.environ.get("SLURM_ARRAY_TASK_ID")


class Counted:
    """Waits at its first start, to be pre-empted, and ends at the second."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def __call__(self):
        starts = len(list(self.folder.glob("start*")))
        (self.folder / f"start{starts}").write_text(str(os.getpid()))
        if starts == 0:
            time.sleep(60)
        return starts + 1

    def checkpoint(self):
        from submitit.core.utils import DelayedSubmission

        return DelayedSubmission(self)
