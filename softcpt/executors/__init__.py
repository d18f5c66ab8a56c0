"""Executors in the manner of `concurrent.futures`, for this machine and for a SLURM cluster.

`submit_all` makes Futures of calls, and `as_completed` gives those that have ended. Each call has its own process, so
every run starts with fresh random generators, loggers and memory. The state of a sweep is in the run folders, so
executors of different kinds and machines can share one sweep. Imports no other package.
"""

from .local import LocalExecutor, ProcessEndedError, prepare
from .slurm import SLURM_OPTIONS, SlurmExecutor, arrays_of

__all__ = ["SLURM_OPTIONS", "LocalExecutor", "ProcessEndedError", "SlurmExecutor", "arrays_of", "prepare"]
