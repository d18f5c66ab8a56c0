"""The runs of a sweep: methods x benchmarks x shots x seeds, each with its run folder and its arguments of train.py.

The methods' scripts (scripts/<method>/main.sh) use the same folders and arguments.
"""

import functools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from softcpt.evaluation.provenance import PROJECT_ROOT
from softcpt.files import read_config
from softcpt.files.texts import counted, joined_names

from .methods import TASKS_FOLDER, Method, digest, for_halves, on_benchmark, plain, with_steps

CONFIGS = PROJECT_ROOT / "configs" / "trainers"
DATASETS = PROJECT_ROOT / "configs" / "datasets"
OWN_PICTURES = "FolderTasks"  # DATASET.NAME of users' own pictures


@dataclass(frozen=True)
class Job:
    """One run: a method on a benchmark with a number of shots and a seed."""

    method: Method
    benchmark: str
    config: str
    shots: int
    seed: int
    half: str = ""  # base-classes or base-tasks to train on, new-classes or new-tasks to evaluate
    place: str = ""  # its folder of results, if not the benchmark's name: see `benchmark_folder`

    def folder(self, out: str | os.PathLike, task_folder: str = "") -> Path:
        """The run folder, or with `task_folder` that of its part on one task."""
        method = self.method
        settings = f"{self.config}_{self.shots}shots"
        folder = Path(
            out, self.place or self.benchmark, method.trainer, settings, method.run_label or "default", self.half
        )
        folder /= f"seed{self.seed}"
        return folder / TASKS_FOLDER / task_folder if task_folder else folder

    @property
    def trained(self) -> "Job":
        """The job that trains what this job evaluates: itself, unless a method that learns is tested on a new half."""
        base = self.half.replace("new-", "base-") if self.method.shots else self.half
        return replace(self, half=base)

    def arguments(self, data: str, out: str, task: str = "", task_folder: str = "") -> list[str]:
        """The arguments of train.py, called in the project's root; with `task`, those of the run on that task only."""
        method = self.method
        part, _, halves = self.half.partition("-")
        pairs = {"DATASET.NUM_SHOTS": self.shots, "FEATURES.DIR": f"{out}/features"}
        pairs |= {"TRAINER.LABEL": method.run_label} if method.run_label else {}
        pairs |= {"DATASET.TASKS": joined_names([task])} if task else {}
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
        shots = "all images" if self.shots < 0 else counted(self.shots, "shot")
        used = f"{shots}, seed {self.seed}" if self.method.shots else ""
        return ", ".join(filter(None, [self.method.label, used, self.half]))


def dataset_file(benchmark: str) -> Path:
    return DATASETS / f"{benchmark}.yaml"


def selected_tasks(benchmark: str) -> str:
    """The tasks that configs/datasets/<benchmark>.yaml selects, as the text of DATASET.TASKS; "all" by default."""
    own = read_config(dataset_file(benchmark)).get("DATASET")
    value = own.get("TASKS", "all") if isinstance(own, dict) else "all"
    return joined_names(value) if isinstance(value, list) else str(value)


def absolute(path: str | os.PathLike) -> str:
    """An absolute path. A leading ~ that was quoted, so not expanded, is the home folder."""
    if re.match("~(/|$)", os.fspath(path)) and not os.environ.get("HOME", "?"):
        raise ValueError(f"{path}: HOME is not set")
    return os.path.abspath(os.path.expanduser(path))


@functools.cache
def benchmark_folder(benchmark: str, data: str) -> str:
    """The name of a benchmark's folder of results; for users' own pictures it names the folder of these, too, so that
    those of two projects differ."""
    file = dataset_file(benchmark)
    section = read_config(file).get("DATASET", {}) if file.is_file() else {}
    if not data or section.get("NAME") != OWN_PICTURES:
        return benchmark
    root = os.path.realpath(data) if os.path.isdir(data) else data
    return f"{benchmark}-{plain(os.path.basename(root))}-{digest(root)}"


def benchmark_of(folder: str) -> str:
    """The benchmark of a folder that `benchmark_folder` named."""
    return re.sub(r"-.*-[0-9a-f]{8}$", "", folder)


def default_config(benchmark: str) -> str:
    return "tiny" if benchmark == "demo" else "rn50"


def without_config(methods: Iterable[Method], config: str) -> dict[str, list[str]]:
    """{label: the trainer's configs} of the methods without `config`, such as MaPLe, which has none for ResNets.

    Raises ValueError if no method has it, or for a trainer without configs.
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
    data: str = "",
) -> list[Job]:
    """The runs of a sweep in the order of `running_order`.

    Args:
        config: a file name in configs/trainers/<trainer>/, by default `default_config`; methods without it have no
            runs.
        steps: {shots: optimiser steps of every run}; None trains the epochs of the methods' configs.
        halves: "classes" or "tasks" adds, to the runs on the base half, evaluations on the new half.
        data: folder of the data sets; names the runs on users' own pictures.
    """
    place = benchmark_folder(benchmark, data)
    config = config or default_config(benchmark)
    jobs = [
        Job(with_steps(method, (steps or {}).get(count, 0)), benchmark, config, count, seed, half, place)
        for half in ([f"base-{halves}", f"new-{halves}"] if halves else [""])
        for method in for_halves(on_benchmark(methods, benchmark), halves)
        if config in _configs(method.trainer)
        for count in (shots if method.shots else [0])
        for seed in (seeds if method.shots else [1])
    ]
    return sorted(jobs, key=running_order)


def running_order(job: Job) -> tuple:
    """A sort key: base before new halves, long runs first, and the seeds of a setting side by side, since they fill
    different feature caches. -1 shots are all images."""
    return job.half.startswith("new"), -job.shots if job.shots >= 0 else -float("inf"), job.method.separate
