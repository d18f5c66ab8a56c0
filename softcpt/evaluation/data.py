"""data.json, the images that a run trains, validates and tests on, as they were when it started.

For each image it holds a mark, of its path below the root of the data and its size, and its time of change. So the same
files below another root are the same images, if they were copied with their times.
"""

import hashlib
import json
import os
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softcpt.files import read_json, read_schema, write_atomically

FILE_NAME = "data.json"
SHOTS_FILE = "shots.json"
SCHEMA = 1
PARTS = {"train": "training", "val": "validation", "test": "test"}
WIDTH = 8  # characters of a mark, and of a time in seconds

Images = Mapping[str, Mapping[str, Sequence[tuple[str, str]]]]  # {task: {part: [(path below the root, path)]}}


@dataclass
class Part:
    """The images of one part of a task, in order; None where a run does not say.

    Attributes:
        names: paths below the root.
        marks: of path and size, WIDTH hexadecimal digits for each image.
        times: of the last change, in whole seconds, as many digits.
    """

    names: list[str] | None = None
    marks: str | None = None
    times: str | None = None

    def rows(self) -> dict[str, tuple[str, str]]:
        """{name: (mark, time)}, both "" where a run does not say."""
        names = self.names or []
        return dict(zip(names, zip(*(each(text, len(names)) for text in (self.marks, self.times)))))


def each(text: str | None, count: int = 0) -> list[str]:
    """The marks, or times, of each image; `count` times "" without any."""
    return [""] * count if text is None else [text[i : i + WIDTH] for i in range(0, len(text), WIDTH)]


Tasks = dict[str, dict[str, Part]]  # {task: {part: its images}}


class Stats(dict[str, tuple[int, int]]):
    """{path: (size, time of change)}, read once per file."""

    def __missing__(self, path: str) -> tuple[int, int]:
        stat = os.stat(path)
        self[path] = stat.st_size, int(stat.st_mtime)  # archives keep whole seconds
        return self[path]


def tasks_now(images: Images, parts: Sequence[str] = tuple(PARTS), stats: Stats | None = None) -> Tasks:
    """The images of a data set, as they are on disk. Raises OSError for one that is missing."""
    stats = Stats() if stats is None else stats
    return {task: {part: _part_now(own[part], stats) for part in parts if part in own} for task, own in images.items()}


def _part_now(pairs: Sequence[tuple[str, str]], stats: Stats) -> Part:
    names, marks, times = [], [], []
    for name, path in pairs:
        size, time = stats[path]
        names.append(name)
        marks.append(hashlib.blake2b(f"{name}\0{size}".encode("utf-8", "surrogatepass"), digest_size=4).hexdigest())
        times.append(f"{time & 0xFFFFFFFF:08x}")
    return Part(names, "".join(marks), "".join(times))


# -- the file --------------------------------------------------------------------------------------------------------


def write_data(folder: str | os.PathLike, root: str, tasks: Tasks, settings: str = "", evaluates: str = "") -> None:
    """Write a run's data.json, atomically.

    Args:
        root: folder of the data sets.
        settings: digest of the run's config.
        evaluates: identity of the run that is evaluated; "" for one that trains.
    """
    record = {"schema": SCHEMA, "root": absolute(root), "settings": settings, "evaluates": evaluates}
    record["tasks"] = rows_of(tasks)
    write_atomically(Path(folder, FILE_NAME), json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def rows_of(tasks: Tasks, parts: Sequence[str] = tuple(PARTS)) -> list[dict[str, Any]]:
    """The tasks of a data.json, from those that a data set has now."""
    return [{"name": name} | {part: _row(own[part]) for part in parts if part in own} for name, own in tasks.items()]


def _row(part: Part) -> dict[str, Any]:
    return {"n": len(part.names or ()), "images": part.marks, "times": part.times}


def absolute(root: str) -> str:
    """A folder of data sets as data.json has it; "" stays empty."""
    return os.path.abspath(os.path.expanduser(root)) if root else ""


def data_in(folder: str | os.PathLike) -> dict[str, Any]:
    """A run's data.json; {} for a run of an older version. Raises ValueError, with the file, for another form."""
    path = Path(folder, FILE_NAME)
    if not path.is_file():
        return {}
    record = read_schema(path, SCHEMA)
    texts = [key for key in ("root", "settings", "evaluates") if not isinstance(record.get(key), str)]
    tasks = record.get("tasks")
    if texts or not isinstance(tasks, list) or not all(_is_task(task) for task in tasks):
        raise ValueError(f"{path}: {', '.join(texts) or 'tasks'} missing or of another form")
    return record


def _is_task(task: Any) -> bool:
    named = isinstance(task, dict) and isinstance(task.get("name"), str)
    return named and all(_is_packed(task[part]) for part in PARTS if part in task)


def _is_packed(part: Any) -> bool:
    n = part.get("n") if isinstance(part, dict) else None
    return type(n) is int and all(
        isinstance(part.get(key), str) and re.fullmatch(r"[0-9a-f]*", part[key]) and len(part[key]) == n * WIDTH
        for key in ("images", "times")
    )


def tasks_then(folder: str | os.PathLike, record: Mapping[str, Any] | None = None) -> Tasks:
    """The images of a run, by its data.json (`record`, if it is read already) and the names in its shots.json. A run of
    an older version has only the latter, and a run of CoOp nothing."""
    tasks: Tasks = {}
    for row in (data_in(folder) if record is None else record).get("tasks", ()):
        tasks[row["name"]] = {p: Part(None, row[p]["images"], row[p]["times"]) for p in PARTS if p in row}
    known = bool(tasks)
    for task, parts in _drawn(Path(folder, SHOTS_FILE)).items():
        for part, names in parts.items():
            own = tasks.get(task, {}).get(part) if known else tasks.setdefault(task, {}).setdefault(part, Part())
            if own is not None and (own.marks is None or len(own.marks) == WIDTH * len(names)):
                own.names = names
    return tasks


def _drawn(path: Path) -> dict[str, dict[str, list[str]]]:
    """{task: {"train", "val": names}} of a shots.json; {} without one. Raises ValueError for another form."""
    shots = read_json(path) if path.is_file() else {}
    if not isinstance(shots, dict) or not all(isinstance(own, dict) for own in shots.values()):
        raise ValueError(f"{path}: expected tasks with their images")
    drawn = {task: {part: own.get(part, []) for part in ("train", "val")} for task, own in shots.items()}
    for names in (names for own in drawn.values() for names in own.values()):
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{path}: expected names of images, found {reprlib.repr(names)}")
    return drawn
