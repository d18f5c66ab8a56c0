"""The record of a run: results.json, written last and read by tables and plots."""

import json
import os
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from storage import read_json, write_atomically

FILE_NAME = "results.json"
SCHEMA = 1
# The keys of a record with the types of their values; metric and values are percentages.
KEYS = {
    "schema": int,
    "trainer": str,
    "variant": str,
    "dataset": str,
    "shots": int,
    "seed": int,
    "backbone": str,
    "split": str,
    "metric": (int, float),
    "tasks": list,
    "n_params": int,
    "train_seconds": (int, float, type(None)),
    "test_seconds": (int, float),
    "peak_memory_bytes": int,
    "device": str,
    "epochs": int,
    "steps": (int, type(None)),
    "commit": str,
    "versions": dict,
    "command": str,
    "loaded_from": str,
}
LATER_KEYS = {"device": "", "steps": None, "command": "", "loaded_from": ""}  # which the records of older versions lack
TASK_KEYS = {"name": str, "metric": str, "value": (int, float, type(None)), "n": int}


def run_record(
    *,
    trainer: str,
    variant: str,
    dataset: str,
    shots: int,
    seed: int,
    backbone: str,
    split: str,
    tasks: Sequence[Mapping],
    n_params: int,
    train_seconds: float | None,
    test_seconds: float,
    peak_memory_bytes: int,
    epochs: int,
    commit: str,
    versions: Mapping[str, str],
    device: str = "",
    steps: int | None = None,
    command: str = "",
    loaded_from: str = "",
) -> dict:
    """The record of one run, ready for `write_record`.

    Args:
        variant: what tells runs of one trainer apart, "" if nothing does.
        train_seconds: without the filling of feature caches; None if it is not known (a run that was resumed).
        peak_memory_bytes: of the run's (first) process without the filling of feature caches: allocated on a GPU, or on
            a CPU resident, with the interpreter and its libraries.
        device: what times and memory were measured on, "cpu" or a GPU's name; "" if it is not known.
        epochs, steps: that were trained; a step is a batch, None if their number is not known.
        shots: training images per class; 0 for a method that uses none, -1 for all of them.
        tasks: the evaluator's `task_results`; the record's metric is the unweighted mean of their values.
        commit, versions: see `git_commit` and `software_versions`.
        command: that made the run, called in the project's root; "" if it is not known.
        loaded_from: the run folder whose prompts were evaluated; "" for a run that has learned its own, or learns none.

    Raises ValueError for a value of the wrong type, or if no task has a value.
    """
    values = [task["value"] for task in tasks if task["value"] is not None]
    if not values:
        raise ValueError("a run without the result of any task has no record")
    record = {
        "schema": SCHEMA,
        "trainer": trainer,
        "variant": variant,
        "dataset": dataset,
        "shots": shots,
        "seed": seed,
        "backbone": backbone,
        "split": split,
        "metric": sum(values) / len(values),
        "tasks": [dict(task) for task in tasks],
        "n_params": n_params,
        "train_seconds": train_seconds,
        "test_seconds": test_seconds,
        "peak_memory_bytes": peak_memory_bytes,
        "device": device,
        "epochs": epochs,
        "steps": steps,
        "commit": commit,
        "versions": dict(versions),
        "command": command,
        "loaded_from": loaded_from,
    }
    check_record(record, "run record")
    return record


def merge_tasks(records: Sequence[Mapping]) -> dict:
    """One record from those of runs that trained a method on one task each, in the tasks' order.

    Parameters, steps and times are summed (None if one of them is), epochs and memory are the largest; the split loses
    the task's name. Raises ValueError if there are none, or if they differ in what makes them one run: in epochs they
    may, if they made equal numbers of steps.
    """
    if not records:
        raise ValueError("no records of tasks to merge")
    for i, record in enumerate(records):
        check_record(record, f"record {i} of {len(records)} to merge")
    records = [{**record, **_later(record)} for record in records]
    splits = [record["split"].removesuffix(f"-{record['tasks'][0]['name']}-tasks") for record in records]
    same = ("trainer", "variant", "dataset", "shots", "seed", "backbone")
    shared = {key: [record[key] for record in records] for key in same} | {"split": splits}
    steps = [record["steps"] for record in records]
    if len(set(steps)) > 1 or steps[0] is None:
        shared["epochs"] = [record["epochs"] for record in records]
    for key, values in shared.items():
        if any(value != values[0] for value in values):
            raise ValueError(f"records of tasks to merge differ in {key}: {', '.join(map(str, dict.fromkeys(values)))}")
    seconds = [record["train_seconds"] for record in records]
    return run_record(
        **{key: values[0] for key, values in shared.items() if key != "epochs"},
        tasks=[task for record in records for task in record["tasks"]],
        n_params=sum(record["n_params"] for record in records),
        train_seconds=None if None in seconds else sum(seconds),
        test_seconds=sum(record["test_seconds"] for record in records),
        peak_memory_bytes=max(record["peak_memory_bytes"] for record in records),
        device=", ".join(dict.fromkeys(record["device"] for record in records)),
        epochs=max(record["epochs"] for record in records),
        steps=None if None in steps else sum(steps),
        commit=", ".join(dict.fromkeys(record["commit"] for record in records)),
        versions={
            key: ", ".join(dict.fromkeys(record["versions"].get(key, "") for record in records))
            for key in records[0]["versions"]
        },
        command="\n".join(filter(None, (record["command"] for record in records))),
        loaded_from=", ".join(dict.fromkeys(filter(None, (record["loaded_from"] for record in records)))),
    )


def check_record(record: object, source: str) -> None:
    """Raise ValueError, naming `source` and the key, unless `record` has all keys of schema 1 with their types."""
    if not isinstance(record, dict) or "schema" not in record:
        raise ValueError(f"{source}: not the record of a run (no key 'schema')")
    if record["schema"] != SCHEMA:
        raise ValueError(f"{source}: schema is {reprlib.repr(record['schema'])}, this version reads schema {SCHEMA}")
    _check_keys({**record, **_later(record)}, KEYS, source)
    if not record["tasks"]:
        raise ValueError(f"{source}: 'tasks' is empty")
    for i, task in enumerate(record["tasks"]):
        _check_keys(task, TASK_KEYS, f"{source}: tasks[{i}]")


def _later(record: Mapping) -> dict:
    """What a record of an older version lacks."""
    return {key: value for key, value in LATER_KEYS.items() if key not in record}


def _check_keys(values: object, types: Mapping, source: str) -> None:
    if not isinstance(values, dict):
        raise ValueError(f"{source}: expected an object, found {reprlib.repr(values)}")
    missing = [key for key in types if key not in values]
    if missing:
        raise ValueError(f"{source}: missing keys: {', '.join(missing)}")
    for key, legal in types.items():
        if not isinstance(values[key], legal) or isinstance(values[key], bool):
            raise ValueError(f"{source}: {key!r} is {reprlib.repr(values[key])}")


def write_record(path: str | os.PathLike, record: Mapping) -> None:
    """Write a record as JSON; the file appears complete or not at all."""
    write_atomically(path, json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_records(folder: str | os.PathLike) -> list[dict]:
    """All results.json below `folder`, sorted by path, each with its file in the extra key "path".

    Those of single tasks of a run that trains once per task (<run>/tasks/<task>/) are left out.

    Raises FileNotFoundError if there is no such folder, ValueError for a file that is not a record of schema 1.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    return [read_record(path) for path in sorted(folder.rglob(FILE_NAME)) if not is_of_one_task(path, folder)]


def is_of_one_task(path: Path, folder: Path) -> bool:
    """Whether a file below `folder` belongs to one task of a run that trains once per task."""
    return path.relative_to(folder).parts[-3:-2] == ("tasks",)


def read_record(path: Path) -> dict:
    """A record, with its file in the extra key "path". Raises ValueError for a file that is not one of schema 1."""
    record = read_json(path)
    check_record(record, str(path))
    return {**record, **_later(record), "path": str(path)}


def record_in(folder: str | os.PathLike) -> dict:
    """The record of the run in a folder, {} if it has none. Raises ValueError as `read_record` does."""
    path = Path(folder, FILE_NAME)
    if not path.is_file():
        return {}
    record = read_json(path)
    check_record(record, str(path))
    return record
