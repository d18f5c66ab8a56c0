"""Sweeps: the runs of a sweep, and the command and state of each. Starts nothing: scripts/lib/sweep_runs.py does."""

# ruff: noqa: F401

from .jobs import TASKS_FOLDER, benchmark_of, plan
from .methods import HALVES, Method, for_halves, on_benchmark, read_sweep, run_variant, task_folders, with_steps
