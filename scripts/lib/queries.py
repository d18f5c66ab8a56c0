"""What sweeps and the methods' scripts ask before their first run: the tasks of a benchmark, what is missing, whether
finished runs are those that would be made, and the GPUs.

All need PyTorch or the data, so a sweep asks in a process of its own. They work in the project's folder, as runs do.
"""

import functools
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from softcpt.evaluation.provenance import PROJECT_ROOT as ROOT
from softcpt.evaluation.records import FILE_NAME as RESULTS
from softcpt.evaluation.records import record_in
from softcpt.files import read_config
from softcpt.sweeps.calls import Step
from softcpt.sweeps.jobs import CONFIGS, Job, dataset_file

from .train_run import import_train

BACKBONE = "MODEL.BACKBONE.NAME"


def device_names() -> list[str]:
    """The GPUs that runs may use, as values of CUDA_VISIBLE_DEVICES."""
    import torch

    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    count = torch.cuda.device_count()
    return named[:count] or [str(i) for i in range(count)]


def config_of(benchmark: str, root: str) -> Any:
    """The config of configs/datasets/<benchmark>.yaml, with the folder of the data sets."""
    from trainers.engine.config import build_cfg, read_files

    return build_cfg(read_files(dataset_file(benchmark)), {"DATASET.ROOT": root} if root else {})


def benchmark_tasks(benchmark: str, root: str = "") -> list[str]:
    """The names of the tasks that configs/datasets/<benchmark>.yaml selects, in order. Tasks that are folders are read
    below `root`.

    Raises ValueError and FileNotFoundError as `task_names` does.
    """
    from datasets.multitask import task_names

    cfg = config_of(benchmark, root)
    try:
        return task_names(cfg)
    except ValueError as error:
        raise ValueError(f"{benchmark}: {error}") from error


# -- what is missing -------------------------------------------------------------------------------------------------


def backbones_of(jobs: Iterable[Job]) -> list[str]:
    """The names of the CLIPs of some jobs, each once."""
    names = (
        {**job.method.settings, **job.method.opts}.get(BACKBONE) or backbone_in(job.method.trainer, job.config)
        for job in jobs
    )
    return [name for name in dict.fromkeys(names) if name]


@functools.cache
def backbone_in(trainer: str, config: str) -> str:
    """The CLIP that configs/trainers/<trainer>/<config>.yaml names; "" if it names none."""
    node: object = read_config(CONFIGS / trainer / f"{config}.yaml")
    for key in BACKBONE.split("."):
        node = node.get(key, "") if isinstance(node, dict) else ""
    return str(node)


def missing(benchmarks: Sequence[str], root: str, backbones: Sequence[str]) -> list[str]:
    """A line for each data set that is not below `root`, with the command that gets it, and for each CLIP whose file is
    not there. Downloads nothing, and reads neither images nor weights."""
    from datasets.tools.on_disk import missing_data
    from softcpt.backbones import why_not_here

    os.chdir(ROOT)
    lines = [line for benchmark in benchmarks for line in missing_data(config_of(benchmark, root))]
    return [line for line in dict.fromkeys([*lines, *map(why_not_here, backbones)]) if line]


def refusal(lines: Sequence[str]) -> str:
    """The message for what is missing."""
    return "\n  ".join(["no run was started, because data or weights are missing:", *lines])


# -- finished runs ---------------------------------------------------------------------------------------------------


def other_runs(steps: Sequence[Step]) -> dict[str, str]:
    """{run folder: what differs} of the finished runs that are not what the steps would make: runs on other data, or of
    another config. Prints a note for data that are not there."""
    train = import_train()
    from trainers.engine.finished_runs import FinishedRuns

    os.chdir(ROOT)
    runs = FinishedRuns(train.parse_args, train.setup_cfg)
    tasks: dict[str, list[str]] = {}
    found = {}
    for step in steps:
        merged = step.job.method.separate and not step.task
        text = _difference_of_tasks(step, runs, tasks) if merged else runs.difference(step.arguments)
        if text:
            found[str(step.folder)] = text
    for text in runs.no_data:
        note = "note: the data of finished runs are not there, so only their configs are compared"
        print(f"{note}: {text}", file=sys.stderr)
    return found


def _difference_of_tasks(step: Step, runs: Any, tasks: dict[str, list[str]]) -> str:
    """What differs in the first part of a run that is trained once per task, or in the tasks of its merged record."""
    from datasets.multitask import task_names

    try:  # the run that an evaluation loads has no config of its own, only its parts have
        cfg = runs.config([word for word in step.arguments if word != "--eval-only"])
        key = repr(cfg.DATASET)
        tasks[key] = tasks.get(key) or task_names(cfg)
    except FileNotFoundError as error:
        runs.no_data[str(error).splitlines()[0]] = None
        return ""
    except ValueError as error:
        return str(error)
    differences = (runs.difference(part.arguments) for part in step.parts(tasks[key]) if part.finished)
    if text := next(filter(None, differences), ""):
        return text
    merged = [task["name"] for task in record_in(step.folder).get("tasks", ())]
    if merged and merged != tasks[key]:
        there, here = (", ".join(map(repr, names)) for names in (merged, tasks[key]))
        return (
            f"{step.folder} was merged from other tasks. It has: {there}. Now: {here}. Remove its {RESULTS}, or choose "
            "another folder of results"
        )
    return ""
