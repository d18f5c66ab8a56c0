"""The methods of a sweep, as its yaml (configs/sweeps/) names them. Nothing is started or written here."""

import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

HALVES = ("classes", "tasks")  # what may be divided into base and new
MAX_STEPS = "OPTIM.MAX_STEPS"
TASKS = "DATASET.TASKS"
# Keys beside `methods`: what the sweep runs unless the command line says otherwise, each a list of such values.
DEFAULTS = {"benchmarks": str, "shots": int, "seeds": int}


@dataclass(frozen=True)
class Method:
    """A line of the table: a trainer and what is set for it."""

    label: str  # in tables
    trainer: str
    variant: str = ""  # as the method's script calls it
    settings: Mapping = field(default_factory=dict)  # {config key: value}: what the variant stands for
    opts: Mapping = field(default_factory=dict)  # more of them; each is named in the run folder
    separate: bool = False  # train once per task
    leave_out: bool = False  # a run for each task left out of training and test
    shots: bool = True  # False: uses no training images, so there is one run
    steps: bool = True  # False: makes no optimiser steps, so that a budget of them changes nothing
    new: str = ""  # what it serves without having been trained on it: "classes", or "tasks", which are new classes, too
    benchmarks: Mapping = field(default_factory=dict)  # {benchmark: what differs there}
    without: str = field(default="", metadata={"internal": True})  # folder name of the task that is left out

    @property
    def run_label(self) -> str:
        """What tells its runs from others of the trainer, "" if nothing does."""
        parts = [run_variant(self.variant, self.separate)]
        parts += [f"{key.split('.')[-1]}-{re.sub('[^A-Za-z0-9.,=-]', '-', str(v))}" for key, v in self.opts.items()]
        parts += [f"without-{self.without or '*'}"] if self.leave_out else []
        return "_".join(part for part in parts if part)


def run_variant(variant: str, separate: bool) -> str:
    """A variant's name, "separate-..." where it is trained once per task."""
    return "-".join(part for part in ("separate" if separate else "", variant) if part)


# -- the yaml --------------------------------------------------------------------------------------------------------


def read_sweep(path: str | os.PathLike) -> list[Method]:
    """The methods of a sweep's yaml. Raises FileNotFoundError, and ValueError naming the file and what is wrong."""
    rows = _content(Path(path))["methods"]
    methods = [_method(row, f"{path}: methods[{i}]") for i, row in enumerate(rows)]
    for halves in ("", *HALVES):
        some = for_halves(methods, halves)
        for what, keys in (("label", [m.label for m in some]), ("runs", [(m.trainer, m.run_label) for m in some])):
            twice = next((key for key in keys if keys.count(key) > 1), None)
            if twice is not None:
                where = f" on halves of the {halves}" if halves else ""
                raise ValueError(f"{path}: two methods have the same {what}{where}: {twice}")
    return methods


def read_defaults(path: str | os.PathLike) -> dict[str, list]:
    """{"benchmarks", "shots", "seeds": values}, as far as a sweep's yaml has these keys. Raises as `read_sweep`."""
    content = _content(Path(path))
    found = {key: content[key] for key in DEFAULTS if key in content}
    for key, values in found.items():
        kind = DEFAULTS[key]
        if not isinstance(values, list) or not values or any(type(value) is not kind for value in values):
            raise ValueError(f"{path}: {key} must be a list of {kind.__name__}, found {values!r}")
    return found


def _content(path: Path) -> dict[str, Any]:
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
    _check_known(content, ("methods", *DEFAULTS), str(path))
    return content


def _check_known(mapping: Mapping, known: Sequence[str], where: str) -> None:
    for key in mapping:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"{where}: unknown key {key!r}, use {', '.join(known)}{hint}")


def _method(row: object, where: str) -> Method:
    if not isinstance(row, dict):
        raise ValueError(f"{where}: expected a mapping, found {row!r}")
    types = {item.name: item.type for item in fields(Method) if not item.metadata.get("internal")}
    legal = {str: str, bool: bool, Mapping: dict}
    _check_known(row, list(types), where)
    for key, value in row.items():
        if not isinstance(value, legal[types[key]]):
            raise ValueError(f"{where}: {key} must be a {legal[types[key]].__name__}, found {value!r}")
    missing = [key for key in ("label", "trainer") if not row.get(key)]
    if missing:
        raise ValueError(f"{where}: missing {', '.join(missing)}")
    if row.get("new") and row["new"] not in HALVES:
        raise ValueError(f"{where}: new is {row['new']!r}, use one of {', '.join(HALVES)}")
    if row.get("leave_out"):
        given = {TASKS} & {*row.get("settings", {}), *row.get("opts", {})}
        other = [key for key in ("separate", "new") if row.get(key)] + sorted(given)
        if other:
            raise ValueError(f"{where}: leave_out and {other[0]} do not go together")
    for benchmark, own in row.get("benchmarks", {}).items():
        _method({**row, "benchmarks": {}, **(own if isinstance(own, dict) else {"": own})}, f"{where} on {benchmark}")
    return Method(**row)


# -- what is asked of them -------------------------------------------------------------------------------------------


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


def leaving_out(methods: Iterable[Method], tasks: Sequence[str]) -> list[Method]:
    """The methods, with one for each of `tasks` in place of each that has `leave_out`.

    "SoftCPT" so becomes "SoftCPT without air", trained and tested on the other tasks, in the folder
    `<variant>_without-air`. Raises ValueError if there are fewer than two tasks.
    """
    found = []
    for method in methods:
        if not method.leave_out:
            found.append(method)
            continue
        if len(tasks) < 2:
            raise ValueError(f"{method.label}: leave_out needs two tasks or more, found {len(tasks)}")
        for task, folder in task_folders(tasks).items():
            others = {TASKS: ",".join(name for name in tasks if name != task)}
            own = {"label": f"{method.label} without {task}", "settings": {**method.settings, **others}}
            found.append(replace(method, without=folder, **own))
    return found


def task_folders(names: Sequence[str]) -> dict[str, str]:
    """{task: its folder's name}: words joined by dashes, numbered where two would be the same."""
    folders: dict[str, str] = {}
    for name in names:
        slug = re.sub(r"\W+", "-", name.lower()).strip("-") or "task"
        candidates = [slug, *(f"{slug}-{i}" for i in range(2, len(names) + 2))]
        folders[name] = next(folder for folder in candidates if folder not in folders.values())
    return folders
