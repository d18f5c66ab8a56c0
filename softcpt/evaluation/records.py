"""results.json, the record of a run: written last, and the source of tables and pictures."""

import json
import os
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from softcpt.files import read_json, write_atomically
from softcpt.files.texts import joined_names

FILE_NAME = "results.json"
SCHEMA = 1
NOT_TESTED = "none"
TOO_LARGE = 1e18  # for any number of a run; tables hold 64 bits
KEYS = {  # {key of a record: type of its value}
    "schema": int,
    "trainer": str,
    "variant": str,  # distinguishes the runs of one trainer; may be ""
    "dataset": str,
    "shots": int,  # training images per class: 0 for a method that uses none, -1 for all images
    "seed": int,
    "backbone": str,
    "split": str,  # see `run_files.split_of`; NOT_TESTED for a run on all images
    # Percent, the unweighted mean over the tasks that are `in_the_mean`; None if the run is not tested.
    "metric": (int, float, type(None)),
    "tasks": list,  # of TASK_KEYS: the evaluator's `task_results`
    "n_params": int,
    "train_seconds": (int, float, type(None)),  # without filling feature caches; None if unknown (a resumed run)
    "test_seconds": (int, float),
    # Peak of the run's first process without filling feature caches: allocated on a GPU, resident on a CPU; 0
    # on Windows, which has no such count.
    "peak_memory_bytes": int,
    "precision": str,  # PREC; of `amp` with its type: amp-bf16 or amp-fp16; "" if unknown
    "device": str,  # "cpu" or a GPU's name; "" if unknown
    "epochs": int,
    "steps": (int, type(None)),  # batches; None if unknown
    "commit": str,  # see `git_commit`
    "versions": dict,  # see `software_versions`
    "command": str,  # that made the run, called in the project's root; "" if unknown
    # "val" if the epoch or a setting was chosen on validation images, "" if nothing was; None if unknown.
    "chosen_on": (str, type(None)),
    "loaded_from": str,  # run folder whose prompts were evaluated; "" for a run that learned its own or learns none
}
# Missing in records of older versions.
LATER_KEYS = {"precision": "", "device": "", "steps": None, "command": "", "chosen_on": None, "loaded_from": ""}
LEFT_OUT = "left_out"  # optional key of a task: why it does not count in the mean
TASK_KEYS = {"name": str, "metric": str, "value": (int, float, type(None)), "n": int}
# Optional keys of a task: its metric in percent on its validation shots, their number, and zero-shot CLIP's metric.
VAL, VAL_N, VAL_ZERO_SHOT = "val", "val_n", "val_zero_shot"
VAL_KEYS = {VAL: (int, float), VAL_N: int, VAL_ZERO_SHOT: (int, float)}


def in_the_mean(tasks: Sequence[Mapping]) -> list[Mapping]:
    """The tasks that count in a mean: those with a value that are not left out, unless all are."""
    tested = [task for task in tasks if task["value"] is not None]
    return [task for task in tested if not task.get(LEFT_OUT)] or tested


def run_record(*, tasks: Sequence[Mapping], **facts: Any) -> dict:
    """The record of one run, ready for `write_record`.

    Args:
        tasks: the evaluator's `task_results`; the record's metric is the unweighted mean of the values that are
            `in_the_mean`.
        facts: the values of the other KEYS; those of LATER_KEYS may be left out.

    Raises ValueError for an unknown or missing key, a value of the wrong type, or if no task has a value.
    """
    values = [task["value"] for task in in_the_mean(tasks)]
    if not values and facts.get("split") != NOT_TESTED:
        raise ValueError("a run without the result of any task has no record")
    metric = sum(values) / len(values) if values else None
    record = {**LATER_KEYS, **facts, "schema": SCHEMA, "metric": metric, "tasks": [dict(task) for task in tasks]}
    unknown = [key for key in record if key not in KEYS]
    if unknown:
        raise ValueError(f"run record: unknown keys: {', '.join(unknown)}")
    check_record(record, "run record")
    return {key: record[key] for key in KEYS}


def merge_tasks(records: Sequence[Mapping], selected: str = "all") -> dict:
    """One record from those of runs that trained a method on one task each, in the order of the tasks.

    Parameters, steps and times are summed (None if one is None), epochs and memory are the largest. Instead of the task
    the split names `selected`, the DATASET.TASKS of the data set itself. Raises ValueError without records, or if they
    are not parts of one run. Their epochs may differ if their numbers of steps are equal.
    """
    if not records:
        raise ValueError("no records of tasks to merge")
    for i, record in enumerate(records):
        check_record(record, f"record {i} of {len(records)} to merge")
    records = [{**LATER_KEYS, **record} for record in records]
    splits = [_of_all_tasks(record, selected) for record in records]
    same = ("trainer", "variant", "dataset", "shots", "seed", "backbone")
    shared = {key: [record[key] for record in records] for key in same} | {"split": splits}
    steps = {record["steps"] for record in records}
    if len(steps) > 1 or None in steps:
        shared["epochs"] = [record["epochs"] for record in records]
    for key, values in shared.items():
        if any(value != values[0] for value in values):
            raise ValueError(f"records of tasks to merge differ in {key}: {', '.join(map(str, dict.fromkeys(values)))}")
    every = {key: [record[key] for record in records] for key in KEYS}
    versions = {key: [own.get(key, "") for own in every["versions"]] for key in every["versions"][0]}
    return run_record(
        **{key: values[0] for key, values in shared.items() if key != "epochs"},
        **{key: max(every[key]) for key in ("epochs", "peak_memory_bytes")},
        **{key: sum(every[key]) for key in ("n_params", "test_seconds")},
        **{key: None if None in every[key] else sum(every[key]) for key in ("steps", "train_seconds")},
        **{key: _joined(every[key]) for key in ("device", "commit")},
        tasks=[task for tasks in every["tasks"] for task in tasks],
        versions={key: _joined(values) for key, values in versions.items()},
        command="\n".join(filter(None, every["command"])),
        chosen_on=None if None in every["chosen_on"] else _joined(filter(None, every["chosen_on"])),
        precision=_joined(filter(None, every["precision"])),
        loaded_from=_joined(filter(None, every["loaded_from"])),
    )


def _of_all_tasks(record: Mapping, selected: str) -> str:
    """The split of a run on one task, without the task's name."""
    name = joined_names([record["tasks"][0]["name"]])
    return record["split"].removesuffix(f"-{name}-tasks") + (f"-{selected}-tasks" if selected != "all" else "")


def _joined(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values))


def check_record(record: object, source: str) -> None:
    """Raise ValueError, with `source` and the key, unless `record` has all keys of schema 1 with their types."""
    if not isinstance(record, dict) or "schema" not in record:
        raise ValueError(f"{source}: not the record of a run (no key 'schema')")
    if record["schema"] != SCHEMA:
        raise ValueError(f"{source}: schema is {reprlib.repr(record['schema'])}, this version reads schema {SCHEMA}")
    _check_keys({**LATER_KEYS, **record}, KEYS, source)
    if not record["tasks"]:
        raise ValueError(f"{source}: 'tasks' is empty")
    if record["metric"] is None and record["split"] != NOT_TESTED:
        raise ValueError(f"{source}: 'metric' is None")
    for i, task in enumerate(record["tasks"]):
        _check_keys(task, TASK_KEYS, f"{source}: tasks[{i}]")
        _check_keys(task, {key: legal for key, legal in VAL_KEYS.items() if key in task}, f"{source}: tasks[{i}]")


def _check_keys(values: object, types: Mapping, source: str) -> None:
    if not isinstance(values, dict):
        raise ValueError(f"{source}: expected an object, found {reprlib.repr(values)}")
    missing = [key for key in types if key not in values]
    if missing:
        raise ValueError(f"{source}: missing keys: {', '.join(missing)}")
    for key, legal in types.items():
        wrong = not isinstance(values[key], legal) or isinstance(values[key], bool)
        if wrong or (isinstance(values[key], int | float) and abs(values[key]) >= TOO_LARGE):
            raise ValueError(f"{source}: {key!r} is {reprlib.repr(values[key])}")


def write_record(path: str | os.PathLike, record: Mapping) -> None:
    """Write a record as JSON, atomically."""
    write_atomically(path, json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_records(folder: str | os.PathLike) -> list[dict]:
    """All results.json below `folder`, sorted by path, each with its file in the extra key "path".

    The records of single tasks, <run>/tasks/<task>/results.json in a run that is trained once per task, and those of
    runs that were not tested, are left out.
    Raises FileNotFoundError without such a folder, ValueError for a file that is not a record of schema 1.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    paths = [path for path in sorted(folder.rglob(FILE_NAME)) if not is_of_one_task(path, folder)]
    return [record for record in map(read_record, paths) if record["split"] != NOT_TESTED]


def is_of_one_task(path: Path, folder: Path) -> bool:
    """Whether a file below `folder` belongs to one task of a run that is trained once per task."""
    return path.relative_to(folder).parts[-3:-2] == ("tasks",)


def read_record(path: Path) -> dict:
    """A record, with its file in the extra key "path". Raises ValueError if it is not a record of schema 1."""
    return {**LATER_KEYS, **_read(path), "path": str(path)}


def record_in(folder: str | os.PathLike) -> dict:
    """The record of the run in a folder, {} if it has none. Raises ValueError as `read_record` does."""
    path = Path(folder, FILE_NAME)
    return _read(path) if path.is_file() else {}


def _read(path: Path) -> dict:
    record = read_json(path)
    check_record(record, str(path))
    return record
