"""The methods of a sweep, as its yaml file in configs/sweeps/ lists them."""

import difflib
import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from softcpt.files import read_config
from softcpt.files.texts import joined_names

HALVES = ("classes", "tasks")  # may be divided into base and new
MAX_STEPS = "OPTIM.MAX_STEPS"
TASKS = "DATASET.TASKS"
NUMBERS = {  # the legal numbers of shots and seeds, in words
    "shots": (lambda count: count == -1 or count >= 1, "-1 (all images) or at least 1"),
    "seeds": (lambda seed: 0 <= seed < 2**32, "at least 0 and at most 4,294,967,295"),
}
TASKS_FOLDER = "tasks"  # in the folder of a run that trains once per task: holds a run folder per task
DEFAULTS = {"benchmarks": str, "shots": int, "seeds": int}  # other keys of a sweep: lists, the defaults of the flags


@dataclass(frozen=True)
class Method:
    """A row of the table: a trainer and its settings."""

    label: str  # its name in tables
    trainer: str
    variant: str = ""  # its name in the method's script
    settings: Mapping = field(default_factory=dict)  # {config key: value} that define the variant
    opts: Mapping = field(default_factory=dict)  # further {config key: value}, part of the run folder's name
    separate: bool = False  # train once per task
    leave_out: bool = False  # one run for each task, which is left out of training and test
    shots: bool = True  # False: uses no training images, so there is one run
    steps: bool = True  # False: makes no optimiser steps, so a budget of steps does not apply
    new: str = ""  # can be tested on new "classes", or on new "tasks" and so on new classes, too
    benchmarks: Mapping = field(default_factory=dict)  # {benchmark: the keys that differ there}
    without: str = field(default="", metadata={"internal": True})  # folder name of the task left out

    @property
    def run_label(self) -> str:
        """The name of its run folder and TRAINER.LABEL, unique among the trainer's runs; "" for the plain trainer."""
        parts = [run_variant(self.variant, self.separate)]
        parts += [pair_label(self.trainer, key, str(value)) for key, value in self.opts.items()]
        parts += [f"without-{self.without or '*'}"] if self.leave_out else []
        return "_".join(part for part in parts if part)


def pair_label(trainer: str, key: str, value: str) -> str:
    """The part of a run folder's name for a setting: key and value.

    A key of the method's own is named by its last part. A value with unusual characters, or a long one, ends in ~ and a
    digest, so that no two settings have one name.
    """
    key = key.removeprefix(f"TRAINER.{trainer.upper()}.")
    return (
        f"{key}-{value}" if re.fullmatch(r"[A-Za-z0-9.,=-]{0,40}", value) else f"{key}-{plain(value)}~{digest(value)}"
    )


def plain(text: str) -> str:
    """A text with each run of other characters as a dash, 40 characters at most; for names of folders."""
    return re.sub(rb"[^A-Za-z0-9.,=]+", b"-", os.fsencode(text))[:40].decode()


def digest(text: str) -> str:
    """The first 8 hexadecimal digits of a text's SHA-256."""
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:8]


def run_variant(variant: str, separate: bool) -> str:
    """A variant's name, prefixed with "separate" for runs that are trained once per task."""
    return "-".join(part for part in ("separate" if separate else "", variant) if part)


# -- the yaml --------------------------------------------------------------------------------------------------------


def read_sweep(path: str | os.PathLike) -> list[Method]:
    """The methods of a sweep's yaml file; a row that names another sweep stands for all methods of that sweep.

    Raises FileNotFoundError, and ValueError with the file and what is wrong in it.
    """
    rows: list[object] = []
    for row in _content(path)["methods"]:
        rows += _content(Path(path).parent / row)["methods"] if isinstance(row, str) else [row]
    methods = [_method(row, f"{path}: methods[{i}]") for i, row in enumerate(rows)]
    for halves in ("", *HALVES):
        some = for_halves(methods, halves)
        found: dict[str, list[object]] = {"label": [method.label for method in some]}
        found["runs"] = [(method.trainer, method.run_label) for method in some]
        for what, keys in found.items():
            twice = next((key for key in keys if keys.count(key) > 1), None)
            if twice is not None:
                where = f" on halves of the {halves}" if halves else ""
                raise ValueError(f"{path}: two methods have the same {what}{where}: {twice}")
    return methods


def read_defaults(path: str | os.PathLike) -> dict[str, list]:
    """The keys DEFAULTS that the sweep's yaml file has, with their values. Raises what `read_sweep` raises."""
    content = _content(path)
    found = {key: content[key] for key in DEFAULTS if key in content}
    for key, values in found.items():
        kind = DEFAULTS[key]
        if not isinstance(values, list) or not values or any(type(value) is not kind for value in values):
            raise ValueError(f"{path}: {key} must be a list of {kind.__name__}, found {values!r}")
        is_legal, text = NUMBERS.get(key, (bool, "a name"))
        wrong = [value for value in values if not is_legal(value)]
        if wrong:
            raise ValueError(f"{path}: {key}: {wrong[0]!r} is not {text}")
    return found


def _content(path: str | os.PathLike) -> dict[str, Any]:
    content = read_config(path)
    if not isinstance(content.get("methods"), list) or not content["methods"]:
        raise ValueError(f"{path}: expected the key 'methods' with a list")
    _check_known(content, ("methods", *DEFAULTS), str(path))
    return content


def _check_known(mapping: Mapping, known: Sequence[str], where: str) -> None:
    for key in mapping:
        if key not in known:
            raise ValueError(f"{where}: unknown key {key!r}, use {', '.join(known)}{did_you_mean(key, known)}")


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: "; did you mean X?", or "" if no known name is close."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _method(row: object, where: str) -> Method:
    if not isinstance(row, dict):
        raise ValueError(f"{where}: expected a mapping, found {row!r}")
    types = {item.name: item.type for item in fields(Method) if not item.metadata.get("internal")}
    _check_known(row, list(types), where)
    for key, value in row.items():
        legal: type = next((kind for kind in (str, bool) if types[key] is kind), dict)
        if not isinstance(value, legal):
            raise ValueError(f"{where}: {key} must be a {legal.__name__}, found {value!r}")
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


# -- changing them ---------------------------------------------------------------------------------------------------


def on_benchmark(methods: Iterable[Method], benchmark: str) -> list[Method]:
    """The methods with their settings for a benchmark."""
    return [replace(method, **{"benchmarks": {}, **method.benchmarks.get(benchmark, {})}) for method in methods]


def for_halves(methods: Iterable[Method], halves: str) -> list[Method]:
    """The methods that can be tested on new `halves`, "classes" or "tasks"; all methods for "".

    On halves of the tasks each method is trained on all base tasks at once, since what it learns on one task does not
    apply to others.
    """
    if not halves:
        return list(methods)
    if halves == "classes":
        return [method for method in methods if method.new]
    return [replace(method, separate=False) for method in methods if method.new == "tasks"]


def with_steps(method: Method, steps: int) -> Method:
    """The method with a budget of `steps`; unchanged for 0, or if it makes no steps or has a budget of its own."""
    if not steps or not method.steps or not method.shots or MAX_STEPS in method.opts:
        return method
    return replace(method, opts={**method.opts, MAX_STEPS: steps})


def on_backbone(methods: Iterable[Method], backbone: str) -> list[Method]:
    """The methods on the CLIP `backbone` (MODEL.BACKBONE.NAME); "" keeps the CLIPs of their configs."""
    own = {"MODEL.BACKBONE.NAME": backbone} if backbone else {}
    return [replace(method, opts={**method.opts, **own}) for method in methods]


def by_recipe(methods: Iterable[Method], recipe: str) -> list[Method]:
    """The methods by a RECIPE, which their labels and run folders name; "equal" and "" keep them as they are."""
    if recipe in ("", "equal"):
        return list(methods)
    return [replace(m, label=f"{m.label}, {recipe}", opts={**m.opts, "RECIPE": recipe}) for m in methods]


def leaving_out(methods: Iterable[Method], tasks: Sequence[str]) -> list[Method]:
    """The methods, with each that has `leave_out` replaced by one method per task.

    "SoftCPT" becomes "SoftCPT without air" and so on, trained and tested on the other tasks, in the folder
    `<variant>_without-air`. Raises ValueError for fewer than two tasks.
    """
    found = []
    for method in methods:
        if not method.leave_out:
            found.append(method)
            continue
        if len(tasks) < 2:
            raise ValueError(f"{method.label}: leave_out needs two tasks or more, found {len(tasks)}")
        for task, folder in task_folders(tasks).items():
            others = {TASKS: joined_names([name for name in tasks if name != task])}
            own = {**method.settings, **others}
            found.append(replace(method, without=folder, label=f"{method.label} without {task}", settings=own))
    return found


def task_folders(names: Sequence[str]) -> dict[str, str]:
    """{task: folder name}: lower-case words joined by dashes, numbered if two are equal."""
    folders: dict[str, str] = {}
    for name in names:
        slug = re.sub(r"\W+", "-", name.lower()).strip("-") or "task"
        candidates = [slug, *(f"{slug}-{i}" for i in range(2, len(names) + 2))]
        folders[name] = next(folder for folder in candidates if folder not in folders.values())
    return folders
