"""classes.json, the tasks and classes that a run started with, and the check that they are still the same."""

import json
import os
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from softcpt.files import PROMPTS, read_schema, read_yaml, write_atomically
from softcpt.tasks import Task, half_of

FILE_NAME = "classes.json"
SCHEMA = 1
KEYS = {"name": str, "template": str, "metric": str, "classnames": list}
SHOWN = 20  # names of a list in a message, at most
SELECTION = ("NAME", "TASKS", "SUBSAMPLE_CLASSES")  # keys of DATASET that select the tasks and classes of a run


def classes_of(tasks: Iterable[Task]) -> list[dict[str, Any]]:
    """The name, template, metric and classnames of tasks, as dicts."""
    return [{**{key: getattr(task, key) for key in KEYS}, "classnames": list(task.classnames)} for task in tasks]


def write_classes(path: str | os.PathLike, tasks: Iterable[Task]) -> None:
    """Write the classes of tasks as JSON, atomically."""
    record = {"schema": SCHEMA, "tasks": classes_of(tasks)}
    write_atomically(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def read_classes(path: str | os.PathLike) -> tuple[Task, ...]:
    """The tasks of a classes.json. Raises ValueError, with the file and the key, for another form or schema."""
    rows, tasks = read_schema(path, SCHEMA).get("tasks"), []
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{path}: 'tasks' is {reprlib.repr(rows)}, not a list of tasks")
    for i, row in enumerate(rows):
        wrong = [k for k, kind in KEYS.items() if not isinstance(row, dict) or not isinstance(row.get(k), kind)]
        if wrong or not row["classnames"] or not all(isinstance(name, str) for name in row["classnames"]):
            raise ValueError(f"{path}: tasks[{i}]: {', '.join(wrong) or 'classnames'} missing or of another type")
        try:
            tasks.append(Task(**{key: row[key] for key in KEYS}))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return tuple(tasks)


def classes_in(run: str | os.PathLike) -> tuple[Task, ...]:
    """The tasks in a run folder or beside its checkpoint; () for a run of an older version, which has none."""
    for path in (Path(run, FILE_NAME), Path(run, PROMPTS, FILE_NAME)):
        if path.is_file():
            return read_classes(path)
    return ()


def check_same_classes(
    run: str | os.PathLike, tasks: Sequence[Task], selection: Mapping[str, Any] | None = None
) -> None:
    """Raise ValueError, with both lists, if a run's tasks, class names, templates or metrics differ from `tasks`.

    A run of an older version, without classes.json, passes.

    Args:
        run: its folder.
        selection: NAME, TASKS and SUBSAMPLE_CLASSES of the data set of `tasks`. If the run has other values, only
            common parts are compared: tasks of the same name, and half of the classes. None compares everything.
    """
    there = {task.name: task for task in classes_in(run)}
    then = {} if selection is None else selection_in(run)
    now = dict(selection or {}) if then else {}
    if not there or then.get("NAME") != now.get("NAME"):
        return  # the second: the prompts are transferred to another data set
    names = [task.name for task in tasks]
    if then.get("TASKS") == now.get("TASKS") and list(there) != names:
        raise different(run, "tasks", list(there), names)
    halves = then.get("SUBSAMPLE_CLASSES", "all"), now.get("SUBSAMPLE_CLASSES", "all")
    for task in (task for task in tasks if task.name in there):
        own, what = there[task.name], f"task {task.name!r}"
        for key in ("template", "metric"):
            if getattr(own, key) != getattr(task, key):
                raise different(run, f"{what}, {key}", [getattr(own, key)], [getattr(task, key)])
        pair = list(own.classnames), list(task.classnames)
        if halves[0] != halves[1]:
            if "all" not in halves:
                continue  # base and new have no class in common
            pair = list(half_of(pair[0], halves[1])), list(half_of(pair[1], halves[0]))
        if pair[0] != pair[1]:
            raise different(run, f"{what}, classes", *pair)


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
