"""Where runs are executed: executors with the semantics of `concurrent.futures`.

`submit(function, *args)` gives a Future, `as_completed` and `cancel` work as ever, and `shutdown` waits. Each call is a
process of its own, so a run's state (random generators, loggers, memory) is that of a fresh process. The state of a
sweep is on disk, in the run folders, so executors of different kinds and machines can share one.
"""

from .local import LocalExecutor, ProcessEndedError, prepare
from .slurm import SLURM_OPTIONS, SlurmExecutor

__all__ = ["SLURM_OPTIONS", "LocalExecutor", "ProcessEndedError", "SlurmExecutor", "prepare"]
