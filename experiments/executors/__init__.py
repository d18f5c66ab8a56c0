"""Where runs are executed: on this machine or on a SLURM cluster, behind the interface of `concurrent.futures`.

`submit(function, *args)` returns a Future for `as_completed`, and `shutdown` waits. Each call has a process of its own,
so every run starts with fresh random generators, loggers and memory. The state of a sweep is in the run folders, so
executors of different kinds and machines can share one sweep. Imports nothing of the project.
"""

from .local import LocalExecutor, ProcessEndedError, prepare
from .slurm import SLURM_OPTIONS, SlurmExecutor

__all__ = ["SLURM_OPTIONS", "LocalExecutor", "ProcessEndedError", "SlurmExecutor", "prepare"]
