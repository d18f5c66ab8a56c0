"""Executors with the interface of `concurrent.futures`, for this machine and for a SLURM cluster.

`submit(function, *args)` returns a Future for `as_completed`, and `shutdown` waits. Each call has its own process, so
every run starts with fresh random generators, loggers and memory. The state of a sweep is in the run folders, so
executors of different kinds and machines can share one sweep. Imports no other room.
"""

from .local import LocalExecutor, ProcessEndedError, prepare
from .slurm import SLURM_OPTIONS, SlurmExecutor, arrays_of

__all__ = ["SLURM_OPTIONS", "LocalExecutor", "ProcessEndedError", "SlurmExecutor", "arrays_of", "prepare"]
