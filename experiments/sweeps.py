"""A sweep as data: methods x shots x seeds, the command that trains each, and the run folder it belongs to.

Functions of a sweep's yaml (configs/sweeps/) and of the configs that there are; nothing is started or written here.
The method's scripts (scripts/<method>/main.sh) use the same folders and commands.
"""

import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import yaml

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "trainers"
TASKS_FOLDER = "tasks"  # of a run that trains once per task: a run folder for each
HALVES = ("classes", "tasks")  # what may be divided into base and new
MAX_STEPS = "OPTIM.MAX_STEPS"


@dataclass(frozen=True)
class Method:
    """A line of the table: a trainer and what is set for it."""

    label: str  # in tables
    trainer: str
    variant: str = ""  # as the method's script calls it
    settings: Mapping = field(default_factory=dict)  # {config key: value}: what the variant stands for
    opts: Mapping = field(default_factory=dict)  # more of them; each is named in the run folder
    separate: bool = False  # train once per task
    shots: bool = True  # False: uses no training images, so there is one run
    steps: bool = True  # False: makes no optimiser steps, so that a budget of them changes nothing
    new: str = ""  # what it serves without having been trained on it: "classes", or "tasks", which are new classes, too
    benchmarks: Mapping = field(default_factory=dict)  # {benchmark: what differs there}

    @property
    def run_label(self) -> str:
        """What tells its runs from others of the trainer, "" if nothing does."""
        parts = [run_variant(self.variant, self.separate)]
        parts += [f"{key.split('.')[-1]}-{re.sub('[^A-Za-z0-9.,=-]', '-', str(v))}" for key, v in self.opts.items()]
        return "_".join(part for part in parts if part)


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


def run_variant(variant: str, separate: bool) -> str:
    """A variant's name, "separate-..." where it is trained once per task."""
    return "-".join(part for part in ("separate" if separate else "", variant) if part)


def read_sweep(path: str | os.PathLike) -> list[Method]:
    """The methods of a sweep's yaml. Raises FileNotFoundError, and ValueError naming the file and what is wrong."""
    path = Path(path)
    if not path.is_file():
        there = ", ".join(sorted(file.name for file in path.parent.glob("*.yaml"))) or "no sweep"
        raise FileNotFoundError(f"no sweep {path}; in {path.parent}: {there}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not a YAML file ({error})") from error
    rows = content.get("methods") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{path}: expected the key 'methods' with a list")
    methods = [_method(row, f"{path}: methods[{i}]") for i, row in enumerate(rows)]
    for halves in ("", *HALVES):
        some = for_halves(methods, halves)
        for what, keys in (("label", [m.label for m in some]), ("runs", [(m.trainer, m.run_label) for m in some])):
            twice = next((key for key in keys if keys.count(key) > 1), None)
            if twice is not None:
                where = f" on halves of the {halves}" if halves else ""
                raise ValueError(f"{path}: two methods have the same {what}{where}: {twice}")
    return methods


def _method(row: object, where: str) -> Method:
    if not isinstance(row, dict):
        raise ValueError(f"{where}: expected a mapping, found {row!r}")
    types = {item.name: item.type for item in fields(Method)}
    legal = {str: str, bool: bool, Mapping: dict}
    for key, value in row.items():
        if key not in types:
            near = difflib.get_close_matches(str(key), types, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"{where}: unknown key {key!r}, use {', '.join(types)}{hint}")
        if not isinstance(value, legal[types[key]]):
            raise ValueError(f"{where}: {key} must be a {legal[types[key]].__name__}, found {value!r}")
    missing = [key for key in ("label", "trainer") if not row.get(key)]
    if missing:
        raise ValueError(f"{where}: missing {', '.join(missing)}")
    if row.get("new") and row["new"] not in HALVES:
        raise ValueError(f"{where}: new is {row['new']!r}, use one of {', '.join(HALVES)}")
    for benchmark, own in row.get("benchmarks", {}).items():
        _method({**row, "benchmarks": {}, **(own if isinstance(own, dict) else {"": own})}, f"{where} on {benchmark}")
    return Method(**row)


def on_benchmark(methods: Iterable[Method], benchmark: str) -> list[Method]:
    """The methods with what differs on a benchmark."""
    return [replace(method, **{"benchmarks": {}, **method.benchmarks.get(benchmark, {})}) for method in methods]


def for_halves(methods: Iterable[Method], halves: str) -> list[Method]:
    """The methods that serve new `halves`, "classes" or "tasks"; all of them for "".

    On halves of the tasks each is trained on all base tasks at once: what is learned on one task alone serves no other.
    """
    if not halves:
        return list(methods)
    if halves == "classes":
        return [method for method in methods if method.new]
    return [replace(method, separate=False) for method in methods if method.new == "tasks"]


def with_steps(method: Method, steps: int) -> Method:
    """The method with a budget of `steps` > 0; as it is where it makes no steps, or where the sweep sets its budget."""
    if not steps or not method.steps or not method.shots or MAX_STEPS in method.opts:
        return method
    return replace(method, opts={**method.opts, MAX_STEPS: steps})


def on_backbone(methods: Iterable[Method], backbone: str) -> list[Method]:
    """The methods on the CLIP `backbone` (MODEL.BACKBONE.NAME), "" for those of their configs."""
    own = {"MODEL.BACKBONE.NAME": backbone} if backbone else {}
    return [replace(method, opts={**method.opts, **own}) for method in methods]


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

    # -1 shots are all images. Seeds stay next to one another: runs side by side then make different feature caches.
    def place(job: Job) -> tuple:
        return job.half.startswith("new"), -job.shots if job.shots >= 0 else -float("inf"), job.method.separate

    return sorted(jobs, key=place)


def task_folders(names: Sequence[str]) -> dict[str, str]:
    """{task: its folder's name}: words joined by dashes, numbered where two would be the same."""
    folders: dict[str, str] = {}
    for name in names:
        slug = re.sub(r"\W+", "-", name.lower()).strip("-") or "task"
        candidates = [slug, *(f"{slug}-{i}" for i in range(2, len(names) + 2))]
        folders[name] = next(folder for folder in candidates if folder not in folders.values())
    return folders
