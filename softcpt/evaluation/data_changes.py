"""What differs between the images of a run, in its data.json, and those that its data set has now."""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from .data import PARTS, WIDTH, Part, Tasks, absolute, data_in, each, rows_of, tasks_then
from .predictions import PREDICTIONS_FILE, read_predictions

SHOWN = 3  # names in a message, of each kind
MOST = 6  # parts of tasks in a message


def differences(
    folder: str | os.PathLike, record: Mapping[str, Any], now: Tasks, parts: Sequence[str]
) -> dict[tuple[str, str], str]:
    """{(task, part): what differs, in words} between the images of a run, whose data.json is `record`, and those of the
    data set, in some parts; ("", "") stands for the tasks. A run that says nothing about a part differs in nothing
    there."""
    if record and record["tasks"] == rows_of(now, parts):
        return {}
    then, found = tasks_then(folder, record), {}
    if then and (text := "; ".join(only_in(then, now))):
        found["", ""] = f"tasks: {text}"
    tested: dict[str, list[str]] = {}
    for task, part in ((task, part) for task in now if task in then for part in parts):
        here, there = now[task][part], then[task].get(part, Part())
        if part == "test" and there.marks is not None and there.marks != here.marks:
            tested = tested or _tested_names(Path(folder))
            names = tested.get(task, [])
            there.names = names if WIDTH * len(names) == len(there.marks) else None
        if text := part_difference(there, here):
            found[task, part] = f"task {task!r}, {PARTS[part]} images: {text}"
    return found


def _tested_names(folder: Path) -> dict[str, list[str]]:
    """{task: names of the tested images} of a finished run, from its predictions."""
    names: dict[str, list[str]] = {}
    path = folder / PREDICTIONS_FILE
    for row in read_predictions(path) if path.is_file() else ():
        names.setdefault(row.task, []).append(row.image)
    return names


def part_difference(then: Part, now: Part) -> str:
    """What differs between the images of a run and those of now, "" if nothing does."""
    if then.marks is None and then.names in (None, now.names):
        return ""
    here = now.rows()
    if then.marks is not None and then.marks == now.marks:
        other = [name for name, time in zip(here, each(then.times)) if here[name][1] != time]
        return f"the same names and sizes, but other times of change ({listed(other)})" if other else ""
    if then.names is None:  # those of an unfinished run's test are not known
        marks = set(each(then.marks))
        gone, changed = len(marks - {mark for mark, _ in here.values()}), []
        texts = [f"{gone} only in the run"] if gone else []
        texts += only_in((), [name for name, (mark, _) in here.items() if mark not in marks])
    else:
        there = then.rows()
        texts = only_in(there, here)
        changed = [name for name in here if there.get(name, ("",))[0] not in ("", here[name][0])]
    texts += [f"of another size {listed(changed)}"] if changed else []
    return "; ".join(texts) or "the same in another order"


def only_in(then: Collection[str], now: Collection[str]) -> list[str]:
    """The names that only a run, and that only the data set has, in words."""
    gone, added = ([name for name in a if name not in b] for a, b in ((then, now), (now, then)))
    return [f"{where} {listed(names)}" for where, names in (("only in the run", gone), ("only now", added)) if names]


def listed(names: Sequence[str]) -> str:
    """The first SHOWN names, and the number of all."""
    more = f", ... ({len(names)} in all)" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more


def in_words(record: Mapping[str, Any], found: Mapping[tuple[str, str], str], root: str) -> str:
    """One line on what differs from the run of a data.json, with both roots if they do."""
    texts = list(found.values())
    more = [f"and {len(texts) - MOST} more parts of tasks"] if len(texts) > MOST else []
    then, now = record.get("root", ""), absolute(root)
    roots = [f"its root is {then}, now it is {now}"] if then and then != now else []
    return ". ".join([*texts[:MOST], *more, *roots])


def trained_and_tested(folder: str | os.PathLike, now: Tasks, tested: str, root: str) -> list[str]:
    """The names of images in the part `tested` of now on which a run was trained or, unless that is "val", validated.

    They are images of the same task, name and size, if the root or the time of change is the same, too, or if most of
    the run's training images are still there: then the data are a copy. A validation image that the run itself tested
    on, as in CoOp's ImageNet, is none, nor is an image of which another task was learned.
    """
    data = data_in(folder)
    then = tasks_then(folder, data)
    parts = ("train",) if tested == "val" or not data else ("train", "val")
    learned: dict[tuple[str, str], tuple[str, str]] = {}  # {(task, name): (mark, time)}
    for task, own in then.items():
        tests = set(each(own.get("test", Part()).marks))
        rows = [row for part in parts for row in own.get(part, Part()).rows().items()]
        learned.update(((task, name), row) for name, row in rows if row[0] not in tests)
    here = {
        (task, name): row for task, own in now.items() for part in own.values() for name, row in part.rows().items()
    }
    there = sum(here.get(key, ("", ""))[0] == mark for key, (mark, _) in learned.items())
    copied = data.get("root", absolute(root)) == absolute(root) or there > len(learned) / 2
    keys = [(task, name) for task, own in now.items() for name in own[tested].names or () if (task, name) in learned]
    return [key[1] for key in keys if not data or _same(learned[key], here[key], copied)]


def _same(then: tuple[str, str], now: tuple[str, str], copied: bool) -> bool:
    return then[0] == now[0] and (copied or then[1] == now[1])
