"""Sweeps: which runs there are, the command of each, how each stands, and starting those that are left.

Imports `executors`, and `reports` when a sweep is over. The names below are the sweep as data: nothing is started.
"""

# ruff: noqa: F401

from .jobs import TASKS_FOLDER, Job, default_config, plan, running_order, without_config
from .methods import (
    HALVES,
    MAX_STEPS,
    Method,
    for_halves,
    leaving_out,
    on_backbone,
    on_benchmark,
    read_defaults,
    read_sweep,
    run_variant,
    task_folders,
    with_steps,
)
