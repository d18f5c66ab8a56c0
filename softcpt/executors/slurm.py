"""Calls as jobs of a SLURM cluster, through submitit."""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from .local import ROOT, ProcessEndedError

MOST_IN_ARRAY = 1000  # SLURM's default MaxArraySize is 1001
TIMEOUTS = 20  # times that a job may reach its time limit and continue in another
SLOWEST_POLL = 15  # seconds
SLURM_OPTIONS = {  # {flag: (name of submitit's parameter, help)}
    "time": ("time", "minutes that a job may take; a longer one goes back into the queue and resumes"),
    "memory": ("mem", "GB of memory of a job"),
    "gpus": ("gpus_per_node", "GPUs of a job"),
    "cpus": ("cpus_per_task", "processors of a job"),
    "partition": ("partition", "the cluster's partition"),
}


class JobFuture(Future):
    """The Future of a job."""

    job: Any = None  # submitit's; None until it is submitted

    @property
    def job_id(self) -> str:
        return self.job.job_id if self.job else ""


class SlurmExecutor(Executor):
    """Submits calls as SLURM jobs, those of a `batch` as a job array, and waits for their results on disk.

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
        known = {SLURM_OPTIONS[key][0]: value for key, value in options.items() if key in SLURM_OPTIONS}
        known |= {"mem": f"{known['mem']}GB"} if "mem" in known else {}
        if cluster == "slurm":
            try:
                self._executor = submitit.SlurmExecutor(folder, max_num_timeout=TIMEOUTS)
            except RuntimeError as error:
                raise OSError("--on slurm: there is no srun on the path, so this machine submits no jobs") from error
            others = {key: value for key, value in options.items() if key not in SLURM_OPTIONS}
            own = {"job_name": "softcpt", "array_parallelism": at_a_time or MOST_IN_ARRAY}
            self._executor.update_parameters(**own, **known, additional_parameters={"requeue": True, **others})
        else:
            self._executor = submitit.LocalExecutor(folder, max_num_timeout=TIMEOUTS)
        self._cluster = cluster
        self._batch: list[tuple[JobFuture, Callable, tuple]] | None = None
        self._waiting: dict[JobFuture, float] = {}  # {future: when it was first missing from the queue, or 0}
        self._closed = threading.Event()
        threading.Thread(target=self._poll, daemon=True).start()

    def submit(self, function: Callable, /, *args: Any) -> JobFuture:
        future = JobFuture()
        if self._batch is not None:
            self._batch.append((future, function, args))
        else:
            self._submit_all([(future, function, args)])
        return future

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Calls submitted within become one job array, or several if an array cannot take them all."""
        self._batch, calls = [], []
        try:
            yield
            calls = self._batch
        finally:
            self._batch = None
        for start in range(0, len(calls), MOST_IN_ARRAY):
            self._submit_all(calls[start : start + MOST_IN_ARRAY])

    def _submit_all(self, calls: list[tuple[JobFuture, Callable, tuple]]) -> None:
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        try:
            with self._executor.batch():
                jobs = [self._executor.submit(function, *args) for _, function, args in calls]
        except (FailedJobError, FailedSubmissionError, subprocess.CalledProcessError) as error:
            raise OSError(f"sbatch refused the jobs: {error}") from error
        for (future, *_), job in zip(calls, jobs):
            future.job = job
            self._waiting[future] = 0.0

    def attach(self, job_id: str) -> JobFuture:
        """The Future of a job that was submitted earlier with the same folder."""
        future = JobFuture()
        future.job = self._executor.job_class(self._executor.folder, job_id)
        self._waiting[future] = 0.0
        return future

    def _poll(self) -> None:
        pause = 0.5
        while not self._closed.wait(pause):
            waiting = list(self._waiting)
            left = self._unfinished(waiting) if waiting else set()
            for future in set(waiting) - left:
                del self._waiting[future]
            pause = min(1.3 * pause, SLOWEST_POLL) if waiting and len(left) == len(waiting) else 0.5

    def _unfinished(self, waiting: list[JobFuture]) -> set[JobFuture]:
        """The Futures that stay open; the others receive the results of their jobs."""
        present = self._in_queue(waiting)
        left = set()
        for future in waiting:
            if future.cancelled() or future.job.paths.result_pickle.exists():
                _settle(future)
                continue
            if present is None or future.job_id in present:
                self._waiting[future] = 0.0
            elif not self._waiting[future]:  # its result may still be on its way over a network file system
                self._waiting[future] = time.monotonic()
            elif time.monotonic() - self._waiting[future] >= SLOWEST_POLL:
                what = f"job {future.job_id} ended without an answer; its output: {future.job.paths.stderr}"
                future.set_exception(ProcessEndedError(what))
                continue
            left.add(future)
        return left

    def _in_queue(self, waiting: list[JobFuture]) -> set[str] | None:
        """The ids of the unfinished jobs; None if SLURM does not answer."""
        if self._cluster == "local":
            return {future.job_id for future in waiting if not future.job.done()}
        states = job_states()
        return None if states is None else set(states)

    def terminate_workers(self) -> None:
        """Stop waiting; the jobs continue."""
        self.shutdown(wait=False)

    def shutdown(self, wait: bool = True) -> None:
        if wait:
            futures.wait(list(self._waiting))
        self._closed.set()


def arrays_of(count: int, options: Mapping[str, Any], at_a_time: int | None = None) -> list[str]:
    """The job arrays that `count` calls of a batch would become, in words, with their options."""
    sizes = [min(MOST_IN_ARRAY, count - start) for start in range(0, count, MOST_IN_ARRAY)]
    shown = ", ".join(f"{key} {value}" for key, value in options.items()) or "SLURM's defaults"
    return [f"a job array of {size}, {at_a_time or size} at a time: {shown}" for size in sizes]


def _settle(future: JobFuture) -> None:
    """Give a Future the result of its job."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(future.job.result())
    except Exception as error:
        future.set_exception(error)


def job_states() -> dict[str, str] | None:
    """{id: state} of this user's unfinished SLURM jobs, arrays job by job; None if SLURM does not answer."""
    command = ["squeue", "--noheader", "--array", "--me", "--format=%i|%T"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return dict(line.split("|", 1) for line in done.stdout.splitlines() if "|" in line)
