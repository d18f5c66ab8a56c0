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

    def folder(self, out: str | os.PathLike) -> Path:
        method = self.method
        settings = f"{self.config}_{self.shots}shots"
        label = method.run_label or "default"
        return Path(out, self.benchmark, method.trainer, settings, label, f"seed{self.seed}")

    def arguments(self, data: str, out: str, task: str = "", task_folder: str = "") -> list[str]:
        """Of train.py, called in the project's root; with `task` of the run on that task alone."""
        method, folder = self.method, self.folder(out)
        pairs = {"DATASET.NUM_SHOTS": self.shots, "FEATURES.DIR": f"{out}/features"}
        pairs |= {"TRAINER.LABEL": method.run_label} if method.run_label else {}
        pairs |= {"DATASET.TASKS": task} if task else {}
        flags = {
            "--root": data,
            "--seed": self.seed,
            "--trainer": method.trainer,
            "--dataset-config-file": f"configs/datasets/{self.benchmark}.yaml",
            "--config-file": f"configs/trainers/{method.trainer}/{self.config}.yaml",
            "--output-dir": folder / TASKS_FOLDER / task_folder if task else folder,
        }
        given = [flags, pairs, method.settings, method.opts]
        return [str(item) for some in given for pair in some.items() for item in pair]

    def __str__(self) -> str:
        return f"{self.method.label}, {self.shots} shots, seed {self.seed}"


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
    for what, keys in (("label", [m.label for m in methods]), ("runs", [(m.trainer, m.run_label) for m in methods])):
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise ValueError(f"{path}: two methods have the same {what}: {twice}")
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
    for benchmark, own in row.get("benchmarks", {}).items():
        _method({**row, "benchmarks": {}, **(own if isinstance(own, dict) else {"": own})}, f"{where} on {benchmark}")
    return Method(**row)


def on_benchmark(methods: Iterable[Method], benchmark: str) -> list[Method]:
    """The methods with what differs on a benchmark."""
    return [replace(method, **method.benchmarks.get(benchmark, {})) for method in methods]


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
    methods: Iterable[Method], benchmark: str, shots: Sequence[int], seeds: Sequence[int], config: str = ""
) -> list[Job]:
    """The runs of a sweep, the long ones first: by shots, then on all tasks at once before one task at a time.

    `config` is a file in configs/trainers/<trainer>/, by default `default_config`; a method without it has no runs.
    """
    config = config or default_config(benchmark)
    jobs = [
        Job(method, benchmark, config, count, seed)
        for method in on_benchmark(methods, benchmark)
        if config in _configs(method.trainer)
        for count in (shots if method.shots else [0])
        for seed in (seeds if method.shots else [1])
    ]
    # -1 shots are all images. Seeds stay next to one another: runs side by side then make different feature caches.
    return sorted(jobs, key=lambda job: (-job.shots if job.shots >= 0 else -float("inf"), job.method.separate))


def task_folders(names: Sequence[str]) -> dict[str, str]:
    """{task: its folder's name}: words joined by dashes, numbered where two would be the same."""
    folders: dict[str, str] = {}
    for name in names:
        slug = re.sub(r"\W+", "-", name.lower()).strip("-") or "task"
        candidates = [slug, *(f"{slug}-{i}" for i in range(2, len(names) + 2))]
        folders[name] = next(folder for folder in candidates if folder not in folders.values())
    return folders


def named_records(records: Iterable[Mapping], methods: Iterable[Method]) -> list[dict]:
    """The records that are runs of `methods`, by their folders, each with the method's label in the key "method"."""
    methods, found = list(methods), []
    for record in records:
        # .../<benchmark>/<trainer>/<config>_<shots>shots/<variant>/seed<n>/results.json
        benchmark, trainer, _, label, *_ = ("", *Path(record["path"]).absolute().parts)[-6:] + ("",) * 6
        runs = {(method.trainer, method.run_label or "default"): method for method in on_benchmark(methods, benchmark)}
        if (trainer, label) in runs:
            found.append({**record, "method": runs[trainer, label].label})
    return found
