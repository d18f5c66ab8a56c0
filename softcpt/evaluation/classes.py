"""classes.json, the tasks and classes that a run started with, and the check that they are still the same."""

import json
import os
import reprlib
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from softcpt.files import PROMPTS, read_json, read_yaml, write_atomically

FILE_NAME = "classes.json"
SCHEMA = 1
KEYS = {"name": str, "template": str, "metric": str, "classnames": list}
SHOWN = 20  # names of a list in a message, at most
SELECTION = ("NAME", "TASKS", "SUBSAMPLE_CLASSES")  # keys of DATASET that select the tasks and classes of a run


def classes_of(tasks: Sequence[Any]) -> list[dict]:
    """The name, template, metric and classnames of tasks, as dicts."""
    return [{**{key: getattr(task, key) for key in KEYS}, "classnames": list(task.classnames)} for task in tasks]


def write_classes(path: str | os.PathLike, tasks: Sequence[Any]) -> None:
    """Write the classes of tasks as JSON, atomically."""
    record = {"schema": SCHEMA, "tasks": classes_of(tasks)}
    write_atomically(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def read_classes(path: str | os.PathLike) -> list[dict]:
    """The tasks of a classes.json. Raises ValueError, with the file and the key, for another form or schema."""
    record = read_json(path)
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        found = record.get("schema") if isinstance(record, dict) else record
        raise ValueError(f"{path}: schema is {reprlib.repr(found)}, this version reads schema {SCHEMA}")
    tasks = record.get("tasks")
    if not isinstance(tasks, list) or not tasks:
        raise ValueError(f"{path}: 'tasks' is {reprlib.repr(tasks)}, not a list of tasks")
    for i, task in enumerate(tasks):
        wrong = [k for k, kind in KEYS.items() if not isinstance(task, dict) or not isinstance(task.get(k), kind)]
        if wrong or not task["classnames"] or not all(isinstance(name, str) for name in task["classnames"]):
            raise ValueError(f"{path}: tasks[{i}]: {', '.join(wrong) or 'classnames'} missing or of another type")
    return tasks


def classes_in(run: str | os.PathLike) -> list[dict] | None:
    """The tasks in a run folder or beside its checkpoint; None for a run of an older version, which has none."""
    for path in (Path(run, FILE_NAME), Path(run, PROMPTS, FILE_NAME)):
        if path.is_file():
            return read_classes(path)
    return None


def check_same_classes(
    run: str | os.PathLike, tasks: Sequence[Any], selection: Mapping[str, Any] | None = None
) -> None:
    """Raise ValueError, with both lists, if a run's tasks, class names, templates or metrics differ from `tasks`.

    A run of an older version, without classes.json, passes.

    Args:
        run: its folder.
        tasks: objects with name, template, metric and classnames, or the dicts of a classes.json.
        selection: NAME, TASKS and SUBSAMPLE_CLASSES of the data set of `tasks`. If the run has other values, only
            common parts are compared: tasks of the same name, and half of the classes. None compares everything.
    """
    found = classes_in(run)
    if found is None:
        return
    there = [composed(task) for task in found]
    here = [composed(task if isinstance(task, Mapping) else classes_of([task])[0]) for task in tasks]
    then = {} if selection is None else selection_in(run)
    now = {key: (selection or {}).get(key) for key in then}
    if then.get("NAME") != now.get("NAME"):
        return  # the prompts are transferred to another data set
    names = [[task["name"] for task in part] for part in (there, here)]
    if then.get("TASKS") == now.get("TASKS") and names[0] != names[1]:
        raise different(run, "tasks", *names)
    known = {task["name"]: task for task in there}
    halves = then.get("SUBSAMPLE_CLASSES", "all"), now.get("SUBSAMPLE_CLASSES", "all")
    for task in here:
        if task["name"] not in known:
            continue
        own = known[task["name"]]
        for key in ("template", "metric"):
            if own[key] != task[key]:
                raise different(run, f"task {task['name']!r}, {key}", [own[key]], [task[key]])
        pair = comparable(own["classnames"], task["classnames"], *halves)
        if pair[0] != pair[1]:
            raise different(run, f"task {task['name']!r}, classes", *pair)


def composed(task: Mapping[str, Any]) -> dict[str, Any]:
    """The texts of a task in composed Unicode (NFC): names of older runs may be as on a disk that decomposes them."""

    def nfc(text: str) -> str:
        return unicodedata.normalize("NFC", text)

    return {key: list(map(nfc, task[key])) if kind is list else nfc(task[key]) for key, kind in KEYS.items()}


def comparable(there: list[str], here: list[str], then: str, now: str) -> tuple[list[str], list[str]]:
    """The parts of two lists of classes that must be equal; one may be a half (base or new) of the other."""
    if then == now:
        return there, here
    if then == "all":
        return half(there, now), here
    if now == "all":
        return there, half(here, then)
    return [], []


def half(names: list[str], which: str) -> list[str]:
    """The base classes, which are the first half rounded up, or the new ones."""
    middle = (len(names) + 1) // 2
    return names[:middle] if which == "base" else names[middle:]


def selection_in(run: str | os.PathLike) -> dict[str, Any]:
    """The keys SELECTION of a run's config; {} without a config."""
    path = Path(run, "config.yaml")
    config = read_yaml(path) if path.is_file() else {}
    own = config.get("DATASET") if isinstance(config, dict) else None
    return {key: own.get(key, "all") for key in SELECTION} if isinstance(own, dict) else {}


def different(run: str | os.PathLike, what: str, there: list[str], here: list[str]) -> ValueError:
    message = f"{run} is a run with other classes ({what}). The run has: {listed(there)}. Now: {listed(here)}."
    if max(len(there), len(here)) > SHOWN:
        only = [[name for name in part if name not in other] for part, other in ((there, here), (here, there))]
        message += f" Only in the run: {listed(only[0])}. Only now: {listed(only[1])}."
    return ValueError(f"{message} Restore the names, or train again in another folder")


def listed(names: list[str]) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more if names else "none"
