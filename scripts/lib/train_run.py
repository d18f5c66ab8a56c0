"""What the processes of a sweep run: a call of train.py, and queries that need PyTorch or the data.

Only these functions import train.py, and only when they are called.
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from softcpt.evaluation.provenance import PROJECT_ROOT as ROOT
from softcpt.evaluation.records import FILE_NAME as RESULTS
from softcpt.evaluation.records import record_in
from softcpt.files import holder
from softcpt.files.texts import joined_names
from softcpt.sweeps.failures import FAILURE, log_of, note_failure
from softcpt.sweeps.jobs import dataset_file
from softcpt.sweeps.methods import TASKS_FOLDER, task_folders

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


def device_names() -> list[str]:
    """The GPUs that runs may use, as values of CUDA_VISIBLE_DEVICES."""
    import torch

    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    count = torch.cuda.device_count()
    return named[:count] or [str(i) for i in range(count)]


@dataclass
class Call:
    """A call of train.py whose run may be finished; `separate` if it is made once per task and merged."""

    arguments: list[str]
    separate: bool = False

    def on_task(self, name: str, folder: str) -> list[str]:
        """The arguments of its part on one task, whose folder has this name."""
        flags = ("--output-dir", "--model-dir")
        pairs = zip(["", *self.arguments], self.arguments)
        words = [f"{word}/{TASKS_FOLDER}/{folder}" if before in flags else word for before, word in pairs]
        return [*words, "DATASET.TASKS", joined_names([name])]


def other_runs(calls: Sequence[Call]) -> dict[str, str]:
    """{run folder: what differs} of the finished runs among the calls' that are not what the calls would make: runs on
    other data, or of another config. Prints a note for data that are not there."""
    train = import_train()
    from trainers.engine.finished_runs import FinishedRuns

    os.chdir(ROOT)
    runs = FinishedRuns(train.parse_args, train.setup_cfg)
    tasks: dict[str, list[str]] = {}
    found = {}
    for call in calls:
        folder = call.arguments[call.arguments.index("--output-dir") + 1]
        text = (
            _difference_of_tasks(call, Path(folder), runs, tasks) if call.separate else runs.difference(call.arguments)
        )
        if text:
            found[folder] = text
    for text in runs.no_data:
        print(
            f"note: the data of finished runs are not there, so only their configs are compared: {text}",
            file=sys.stderr,
        )
    return found


def _difference_of_tasks(call: Call, folder: Path, runs: Any, tasks: dict[str, list[str]]) -> str:
    """What differs in the first part of a run that is trained once per task, or in the tasks of its merged record."""
    from datasets.multitask import task_names

    try:  # the run that an evaluation loads has no config of its own, only its parts have
        cfg = runs.config([word for word in call.arguments if word != "--eval-only"])
        key = repr(cfg.DATASET)
        tasks[key] = tasks.get(key) or task_names(cfg)
    except FileNotFoundError as error:
        runs.no_data[str(error).splitlines()[0]] = None
        return ""
    except ValueError as error:
        return str(error)
    for name, part in task_folders(tasks[key]).items():
        if (folder / TASKS_FOLDER / part / RESULTS).is_file():
            text = runs.difference(call.on_task(name, part))
            if text:
                return text
    merged = [task["name"] for task in record_in(folder).get("tasks", ())]
    if merged and merged != tasks[key]:
        there, here = (", ".join(map(repr, names)) for names in (merged, tasks[key]))
        return (
            f"{folder} was merged from other tasks. It has: {there}. Now: {here}. Remove its {RESULTS}, or choose "
            "another folder of results"
        )
    return ""


def benchmark_tasks(benchmark: str, root: str = "") -> list[str]:
    """The names of the tasks that configs/datasets/<benchmark>.yaml selects, in order. Tasks that are folders are read
    below `root`.

    Raises ValueError and FileNotFoundError as `task_names` does.
    """
    from datasets.multitask import task_names
    from trainers.engine.config import build_cfg, read_files

    cfg = build_cfg(read_files(dataset_file(benchmark)), {"DATASET.ROOT": root} if root else {})
    try:
        return task_names(cfg)
    except ValueError as error:
        raise ValueError(f"{benchmark}: {error}") from error
