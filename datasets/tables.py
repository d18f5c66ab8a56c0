"""CSV tables of images: `path,task,class,split`, one image per line, paths relative to the file's folder."""

import csv
import io
import os
from collections.abc import Iterable, Sequence

from storage import write_atomically
from storage.images import formats, hint

from .messages import nearest
from .paths import Listings
from .raw import is_image
from .splits import PARTS

Pictures = dict[str, dict[str, list[str]]]  # {part of one task, or "" without parts: {class: paths}}

COLUMNS = ("path", "task", "class")
PART_OF = {"valid": "val", "validation": "val", **{part: part for part in PARTS}}  # names of parts


def read_table(
    path: str, root: str = "", absolute: bool = False
) -> tuple[dict[str, Pictures], dict[str, dict[str, int]]]:
    """{task: its images} of a CSV, and {task: {class: line of its first image}}, in the order of the lines.

    `absolute` allows absolute paths.

    Raises:
        ValueError: with the line, for a wrong header, an empty field, an unknown split, or a path that is not an image,
            occurs twice in a task, or leads out of both `root` and the table's folder.
        FileNotFoundError: an image does not exist.
    """
    places = [os.path.join(os.path.abspath(folder), "") for folder in (os.path.dirname(path), root) if folder]
    tasks: dict[str, Pictures] = {}
    class_lines: dict[str, dict[str, int]] = {}
    lines: dict[tuple[str, str], int] = {}
    listings = Listings()
    with open(path, encoding="utf-8-sig", newline="") as file:
        try:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            _check_header(path, header)
            for row in reader:
                if not any(field.strip() for field in row):
                    continue
                where = f"{path}, line {reader.line_num}"
                if len(row) != len(header):
                    raise ValueError(f"{where}: {len(row)} fields, but the header has {len(header)}")
                image, task, name, part = _fields(where, dict(zip(header, map(str.strip, row))), os.path.dirname(path))
                _check_place(where, image, row[header.index("path")].strip(), places, absolute)
                _check_file(where, image, listings)
                first = lines.setdefault((task, image), reader.line_num)
                if first != reader.line_num:
                    raise ValueError(f"{where}: {image} is already in line {first} of the same task")
                tasks.setdefault(task, {}).setdefault(part, {}).setdefault(name, []).append(image)
                class_lines.setdefault(task, {}).setdefault(name, reader.line_num)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not a CSV file ({error})") from error
    if not tasks:
        raise ValueError(f"{path}: lists no pictures")
    return tasks, class_lines


def write_table(path: str, rows: Iterable[tuple[str, str, str, str]]) -> None:
    """Write (path, task, class, split) rows, atomically."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow((*COLUMNS, "split"))
    writer.writerows(rows)
    write_atomically(path, text.getvalue())


def _check_header(path: str, header: list[str]) -> None:
    wrong = [f"no column {name!r}" for name in COLUMNS if name not in header]
    wrong += [f"unknown column {name!r}" for name in header if name not in (*COLUMNS, "split")]
    wrong += [f"the column {name!r} occurs twice" for name in header if header.count(name) > 1]
    if wrong:
        raise ValueError(f"{path}, line 1: {wrong[0]}; the header must be path,task,class,split (or without split)")


def _fields(where: str, row: dict[str, str], folder: str) -> tuple[str, str, str, str]:
    empty = [name for name in COLUMNS if not row[name]]
    if empty:
        raise ValueError(f"{where}: no {empty[0]}")
    if "split" in row and row["split"] not in PART_OF:
        raise ValueError(f"{where}: split is {row['split']!r}, use {', '.join(PARTS)}{nearest(row['split'], PARTS)}")
    part = PART_OF.get(row.get("split", ""), "")
    return os.path.normpath(os.path.join(folder, row["path"])), row["task"], row["class"], part


def _check_place(where: str, image: str, written: str, places: Sequence[str], absolute: bool) -> None:
    if os.path.isabs(written):
        if absolute:
            return
        raise ValueError(f"{where}: {written} is an absolute path, which DATASET.ABSOLUTE_PATHS True would allow")
    if not os.path.abspath(image).startswith(tuple(places)):
        raise ValueError(f"{where}: {written} leads out of {' and '.join(sorted(set(places)))}")


def _check_file(where: str, image: str, listings: Listings) -> None:
    if not is_image(os.path.basename(image)):
        raise ValueError(f"{where}: {image} is not an image file ({', '.join(formats())}){hint(image)}")
    if not listings.has(image):
        raise FileNotFoundError(f"{where}: no file {image}")
