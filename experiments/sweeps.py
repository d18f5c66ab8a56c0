"""A sweep as data: methods x benchmarks x shots x seeds, the command that trains each, and its run folder.

Functions of the methods (methods.py) and of the configs that there are; nothing is started or written here.
The method's scripts (scripts/<method>/main.sh) use the same folders and commands.
"""

import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .methods import (  # noqa: F401  (all that a sweep is made of)
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

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "trainers"
TASKS_FOLDER = "tasks"  # of a run that trains once per task: a run folder for each


@dataclass(frozen=True)
class Job:
    """One run: a method on a benchmark with a number of shots and a seed."""

    method: Method
    benchmark: str
    config: str
    shots: int
    seed: int
    half: str = ""  # of the benchmark: base-classes or base-tasks to train on, new-classes or new-tasks to evaluate

    def folder(self, out: str | os.PathLike, task_folder: str = "") -> Path:
        """Of the run, or of its part on one task."""
        method = self.method
        settings = f"{self.config}_{self.shots}shots"
        folder = Path(out, self.benchmark, method.trainer, settings, method.run_label or "default", self.half)
        folder /= f"seed{self.seed}"
        return folder / TASKS_FOLDER / task_folder if task_folder else folder

    @property
    def trained(self) -> "Job":
        """The job that trains what this one evaluates: itself, but for the new half of a method that learns."""
        base = self.half.replace("new-", "base-") if self.method.shots else self.half
        return replace(self, half=base)

    def arguments(self, data: str, out: str, task: str = "", task_folder: str = "") -> list[str]:
        """Of train.py, called in the project's root; with `task` of the run on that task alone."""
        method = self.method
        part, _, halves = self.half.partition("-")
        pairs = {"DATASET.NUM_SHOTS": self.shots, "FEATURES.DIR": f"{out}/features"}
        pairs |= {"TRAINER.LABEL": method.run_label} if method.run_label else {}
        pairs |= {"DATASET.TASKS": task} if task else {}
        pairs |= {"DATASET.SUBSAMPLE_CLASSES" if halves == "classes" else "DATASET.TASKS": part} if part else {}
        flags = {
            "--root": data,
            "--seed": self.seed,
            "--trainer": method.trainer,
            "--dataset-config-file": f"configs/datasets/{self.benchmark}.yaml",
            "--config-file": f"configs/trainers/{method.trainer}/{self.config}.yaml",
            "--output-dir": self.folder(out, task_folder),
        }
        load = [] if self.trained == self else ["--eval-only", "--model-dir", self.trained.folder(out, task_folder)]
        given = [item for some in (pairs, method.settings, method.opts) for pair in some.items() for item in pair]
        return [str(item) for item in [*(word for pair in flags.items() for word in pair), *load, *given]]

    def __str__(self) -> str:
        return ", ".join(filter(None, [self.method.label, f"{self.shots} shots, seed {self.seed}", self.half]))


def default_config(benchmark: str) -> str:
    return "tiny" if benchmark == "demo" else "rn50"


def without_config(methods: Iterable[Method], config: str) -> dict[str, list[str]]:
    """{label: the configs that its trainer has} of the methods that lack `config`, as MaPLe those of ResNets.

    Raises ValueError if none has it, or for a trainer without configs, which then is none of this project.
    """
    methods = list(methods)
    there = {method.label: _configs(method.trainer) for method in methods}
    for method in methods:
        if not there[method.label]:
            trainers = ", ".join(sorted(path.name for path in CONFIGS.iterdir()))
            raise ValueError(f"{method.label}: no trainer {method.trainer}; one of {trainers}")
    lacking = {label: configs for label, configs in there.items() if config not in configs}
    if len(lacking) == len(there):
        known = sorted({config for configs in there.values() for config in configs})
        raise ValueError(f"no method of the sweep has a config {config!r}; one of {', '.join(known)}")
    return lacking


@functools.cache
def _configs(trainer: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / trainer).glob("*.yaml"))


def plan(
    methods: Iterable[Method],
    benchmark: str,
    shots: Sequence[int],
    seeds: Sequence[int],
    config: str = "",
    steps: Mapping[int, int] | None = None,
    halves: str = "",
) -> list[Job]:
    """The runs of a sweep, the long ones first: by shots, then on all tasks at once before one task at a time.

    Args:
        config: a file in configs/trainers/<trainer>/, by default `default_config`; a method without it has no runs.
        steps: {shots: the steps that every run makes}; none for the epochs of the methods' configs.
        halves: "classes" or "tasks" for the runs on the base half, and after them those on the new one.
    """
    config = config or default_config(benchmark)
    jobs = [
        Job(with_steps(method, (steps or {}).get(count, 0)), benchmark, config, count, seed, half)
        for half in ([f"base-{halves}", f"new-{halves}"] if halves else [""])
        for method in for_halves(on_benchmark(methods, benchmark), halves)
        if config in _configs(method.trainer)
        for count in (shots if method.shots else [0])
        for seed in (seeds if method.shots else [1])
    ]

    return sorted(jobs, key=running_order)


def running_order(job: Job) -> tuple:
    """Sorts jobs, the long ones first. Seeds stay next to one another: runs side by side then make different feature
    caches. -1 shots are all images."""
    return job.half.startswith("new"), -job.shots if job.shots >= 0 else -float("inf"), job.method.separate
