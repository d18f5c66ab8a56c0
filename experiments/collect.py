"""Which runs a report is of: what below a folder can be read, and what must not be averaged told apart."""

import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from evaluation.records import FILE_NAME, is_of_one_task, read_record

from .sweeps import HALVES
from .tables import method_name, tested

EVALUATION = " (evaluation)"  # ends the name of a method whose runs evaluate what others have trained
NOT_RUNS = {"prompt_learner", "tensorboard", "features"}  # folders that hold no runs
NAMED = 5  # files of one kind that are named


def readable_records(folder: str | os.PathLike, runs: Collection[Path] | None = None) -> tuple[list[dict], list[str]]:
    """The records below `folder` by path, as `read_records` has them, and what is left out: a text for each file that
    is no record of this schema, cut off for instance, and one for all runs without a record. With `runs`, only what is
    in these run folders.

    Raises FileNotFoundError if there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    paths, unfinished = [], []
    for where, folders, files in os.walk(folder):
        here = Path(where)
        if runs is not None and here not in runs:
            pass
        elif FILE_NAME in files:
            paths.append(here / FILE_NAME)
        elif "config.yaml" in files and not is_of_one_task(here / FILE_NAME, folder):
            unfinished.append(str(here))
        folders[:] = [name for name in folders if name not in NOT_RUNS]
    records, left_out = [], []
    for path in sorted(path for path in paths if not is_of_one_task(path, folder)):
        try:
            records.append(read_record(path))
        except ValueError as error:
            left_out.append(str(error))
    if unfinished:
        names = ", ".join(sorted(unfinished)[:NAMED]) + (", ..." if len(unfinished) > NAMED else "")
        left_out.append(f"without a {FILE_NAME}, so unfinished: {len(unfinished)} ({names})")
    return records, left_out


def told_apart(records: Iterable[Mapping]) -> tuple[list[dict], list[str]]:
    """The records with names, in the key "method", under which no run is there twice, and a text for each name made.

    An evaluation of a run that another has trained is "<name> (evaluation)", except on a half of the classes or tasks,
    which is nothing else. Of the same run in two folders, by the order of their paths, the later one is
    "<name> [<the part of the path that differs>]". So neither is averaged with what it repeats.
    """
    copies = [dict(record) for record in records]
    first: dict[tuple, dict] = {}
    twins: dict[str, list[tuple[dict, dict]]] = {}
    for record in sorted(copies, key=lambda record: (bool(record["loaded_from"]), record.get("path", ""))):
        name = method_name(record)
        if record["loaded_from"] and not re.search(rf"-(base|new)-({'|'.join(HALVES)})\b", record["split"]):
            name += EVALUATION
        twin = first.setdefault((*_run(record), name), record)
        if twin is not record:
            same, name = name, f"{name} [{_difference(twin['path'], record['path'])}]"
            if first.setdefault((*_run(record), name), record) is not record:
                name = f"{same} [{Path(record['path']).parent}]"
                first[(*_run(record), name)] = record
            twins.setdefault(name, []).append((twin, record))
        record["method"] = name
    notes = [
        f"{name}: {len(pairs)} runs that are there twice, as {pairs[0][1]['path']} beside {pairs[0][0]['path']}; "
        "they are kept apart (TRAINER.LABEL names a run)"
        for name, pairs in twins.items()
    ]
    return copies, notes


def _run(record: Mapping) -> tuple:
    """What makes two records of one method the same run."""
    return (*(record[key] for key in ("dataset", "backbone", "split", "shots", "seed")), tested(record["tasks"]))


def _difference(path: str, other: str) -> str:
    """The first part of `other` that differs from that of `path`."""
    parts = zip(Path(path).parts, Path(other).parts)
    return next((theirs for ours, theirs in parts if ours != theirs), str(Path(other).parent))
