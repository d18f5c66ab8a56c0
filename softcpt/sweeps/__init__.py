"""Sweeps: the runs of a sweep, the command and state of each, and starting those that are left.

Imports `executors`, and `reports` at the end of a sweep. The names below describe a sweep and start nothing.
"""

# ruff: noqa: F401

from .jobs import TASKS_FOLDER, benchmark_of, plan
from .methods import HALVES, Method, for_halves, on_benchmark, read_sweep, run_variant, task_folders, with_steps
