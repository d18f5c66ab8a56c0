"""Calls as jobs of a SLURM cluster, through submitit."""

import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .local import ROOT

MOST_IN_ARRAY = 1000  # SLURM's default MaxArraySize is 1001
TIMEOUTS = 20  # times that a job may reach its time limit and continue in another
POLL = 3  # seconds between two looks for results
QUEUE_POLL = 15  # seconds between two looks into SLURM's queue
SLURM_OPTIONS = {  # {flag: (name of submitit's parameter, help)}
    "time": ("time", "minutes that a job may take; a longer one goes back into the queue and resumes"),
    "memory": ("mem", "GB of memory of a job"),
    "gpus": ("gpus_per_node", "GPUs of a job"),
    "cpus": ("cpus_per_task", "processors of a job"),
    "partition": ("partition", "the cluster's partition"),
}


class SlurmExecutor:
    """Submits calls as SLURM jobs. Their Futures are submitit's, with `job_id`, `done` and `result`.

    A function with a method `checkpoint`, such as TrainRun, goes back into the queue when its job is pre-empted or
    reaches its time limit. Jobs are not children of this process, and continue after it ends.

    Args:
        folder: for submitit's files, visible to all nodes.
        options: see SLURM_OPTIONS; other keys are long options of sbatch.
        at_a_time: jobs of an array that run at the same time, None for all.
        cluster: "local" executes jobs on this machine, without SLURM, for tests.

    Raises ImportError without submitit, OSError without SLURM.
    """

    def __init__(
        self, folder: Path, options: Mapping[str, Any], at_a_time: int | None = None, cluster: str = "slurm"
    ) -> None:
        try:
            import submitit
        except ImportError as error:
            raise ImportError("--on slurm needs submitit: pip install -r requirements-slurm.txt") from error
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self._executor: Any
        if cluster == "local":
            self._executor = submitit.LocalExecutor(folder, max_num_timeout=TIMEOUTS)
            return
        try:
            self._executor = submitit.SlurmExecutor(folder, max_num_timeout=TIMEOUTS)
        except RuntimeError as error:
            raise OSError("--on slurm: there is no srun on the path, so this machine submits no jobs") from error
        self._executor.job_class = type("Job", (self._executor.job_class,), {"watcher": Queue()})
        known = {SLURM_OPTIONS[key][0]: value for key, value in options.items() if key in SLURM_OPTIONS}
        known |= {"mem": f"{known['mem']}GB"} if "mem" in known else {}
        others = {key: value for key, value in options.items() if key not in SLURM_OPTIONS}
        own = {"job_name": "softcpt", "array_parallelism": at_a_time or MOST_IN_ARRAY}
        self._executor.update_parameters(**own, **known, additional_parameters={"requeue": True, **others})

    def submit_all(self, calls: Sequence[Callable[[], Any]]) -> list[Any]:
        """Submit calls as one job array, or several if an array cannot take them all. Returns their Futures."""
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        jobs = []
        try:
            for start in range(0, len(calls), MOST_IN_ARRAY):
                with self._executor.batch():
                    jobs += [self._executor.submit(call) for call in calls[start : start + MOST_IN_ARRAY]]
        except (FailedJobError, FailedSubmissionError, subprocess.CalledProcessError) as error:
            raise OSError(f"sbatch refused the jobs: {error}") from error
        return jobs

    def attach(self, job_id: str) -> Any:
        """The Future of a job that was submitted earlier with the same folder."""
        return self._executor.job_class(self._executor.folder, job_id)

    def as_completed(self, jobs: Iterable[Any]) -> Iterator[Any]:
        """The Futures of jobs as they end."""
        from submitit.helpers import as_completed

        return as_completed(list(jobs), poll_frequency=POLL)

    def terminate_workers(self) -> None:
        """Nothing: the jobs continue."""

    shutdown = terminate_workers


class Queue:
    """Tells submitit which jobs have ended: those that have left SLURM's queue. Its own watcher asks sacct, which knows
    nothing on clusters without accounting, and would wait for ever for a job that vanished."""

    def __init__(self) -> None:
        self._states: dict[str, str] | None = None
        self._asked = -float("inf")

    def register_job(self, job_id: str) -> None:
        self._asked = -float("inf")

    def get_state(self, job_id: str, mode: str = "standard") -> str:
        """The state of a job; UNKNOWN if SLURM does not answer."""
        if time.monotonic() - self._asked >= QUEUE_POLL:
            self._states, self._asked = job_states(), time.monotonic()
        return "UNKNOWN" if self._states is None else self._states.get(job_id, "ENDED")

    def is_done(self, job_id: str, mode: str = "standard") -> bool:
        return self.get_state(job_id) == "ENDED"


def arrays_of(count: int, options: Mapping[str, Any], at_a_time: int | None = None) -> list[str]:
    """The job arrays that `count` calls of a batch would become, in words, with their options."""
    sizes = [min(MOST_IN_ARRAY, count - start) for start in range(0, count, MOST_IN_ARRAY)]
    shown = ", ".join(f"{key} {value}" for key, value in options.items()) or "SLURM's defaults"
    return [f"a job array of {size}, {at_a_time or size} at a time: {shown}" for size in sizes]


def job_states() -> dict[str, str] | None:
    """{id: state} of this user's unfinished SLURM jobs, arrays job by job; None if SLURM does not answer."""
    command = ["squeue", "--noheader", "--array", "--me", "--format=%i|%T"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return dict(line.split("|", 1) for line in done.stdout.splitlines() if "|" in line)
