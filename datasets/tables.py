"""CSV tables of images: `path,task,class,split`, one image per line, paths relative to the file's folder."""

import csv
import io
import os
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from softcpt.files import line_not_in_utf8, write_atomically
from softcpt.files.messages import nearest, report
from softcpt.files.texts import nfc

from .paths import Listings, relative
from .raw import is_image, no_image
from .splits import PARTS

TABLE_FILE = "tasks.csv"

Pictures = dict[str, dict[str, list[str]]]  # {part of one task, or "" without parts: {class: paths}}

COLUMNS = ("path", "task", "class")
SYNONYMS = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}
PART_OF = {**{part: part for part in PARTS}, **SYNONYMS}  # names of parts, in lower case


class Row(NamedTuple):
    """A line of a table. `image` is its path on disk, "" if it is gone; `part` is "" in a table without splits."""

    line: int
    path: str  # as written
    image: str
    task: str
    name: str
    part: str


def part_of(name: str) -> str:
    """The part, train, val or test, that a name of a folder or in a table means, in any case; "" for none."""
    return PART_OF.get(name.casefold(), "")


def read_table(
    path: str, root: str = "", absolute: bool = False, problems: list[str] | None = None
) -> tuple[dict[str, Pictures], dict[str, dict[str, int]]]:
    """{task: its images} of a CSV, and {task: {class: line of its first image}}, in the order of the lines.

    `absolute` allows absolute paths; `problems`: see `report`.

    Raises:
        ValueError: with the line, see `table_rows`.
        FileNotFoundError, or `report`: an image does not exist.
    """
    tasks: dict[str, Pictures] = {}
    class_lines: dict[str, dict[str, int]] = {}
    rows = table_rows(path, root, absolute)
    report(gone_rows(path, root, rows), problems, FileNotFoundError)
    for row in rows:
        if row.image:
            tasks.setdefault(row.task, {}).setdefault(row.part, {}).setdefault(row.name, []).append(row.image)
            class_lines.setdefault(row.task, {}).setdefault(row.name, row.line)
    return tasks, class_lines


def extend_command(path: str, root: str) -> str:
    """The command that extends a table by what is new below the data root."""
    table = relative(path, root)
    more = "" if table == TABLE_FILE else f" --csv {shlex.quote(table)}"
    return f"python scripts/data.py splits FolderTasks --root {shlex.quote(root or '.')}{more}"


def gone_rows(path: str, root: str, rows: Sequence[Row]) -> list[str]:
    """One message on the images of a table that do not exist, or none."""
    gone = [row for row in rows if not row.image]
    if not gone:
        return []
    parts = ", ".join(f"{count} {part}" for part, count in Counter(row.part for row in gone).items() if part)
    more = f"; {len(gone):,} images gone ({parts or 'no parts'})" if len(gone) > 1 else ""
    where = os.path.normpath(os.path.join(os.path.dirname(path), gone[0].path))
    drop = f"{extend_command(path, root)} --drop-gone"
    return [f"{path}, line {gone[0].line}: no file {where}{more}. Restore it, or remove its line: {drop}"]


def table_rows(path: str, root: str = "", absolute: bool = False) -> list[Row]:
    """The lines of a CSV, with names in NFC.

    Raises ValueError, with the line, for a wrong header, an empty field, an unknown split, or a path that is not an
    image, occurs twice in a task, or leads out of both `root` and the table's folder.
    """
    folder = os.path.dirname(path)
    places = [os.path.join(os.path.abspath(place), "") for place in (folder, root) if place]
    rows: list[Row] = []
    lines: dict[tuple[str, str], int] = {}
    listings = Listings()
    with open(path, encoding="utf-8-sig", newline="") as file:
        try:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            _check_header(path, header)
            for fields in reader:
                if not any(field.strip() for field in fields):
                    continue
                where = f"{path}, line {reader.line_num}"
                if len(fields) != len(header):
                    raise ValueError(f"{where}: {len(fields)} fields, but the header has {len(header)}")
                row = _row(where, reader.line_num, dict(zip(header, map(str.strip, fields))))
                image = os.path.normpath(os.path.join(folder, row.path))
                _check_path(where, image, row.path, places, absolute)
                row = row._replace(image=listings.find(image))
                first = lines.setdefault((row.task, row.image or nfc(image)), row.line)
                if first != row.line:
                    raise ValueError(f"{where}: {image} is already in line {first} of the same task")
                rows.append(row)
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: {line_not_in_utf8(path)}; save it as CSV in UTF-8") from error
        except csv.Error as error:
            raise ValueError(f"{path}: not a CSV file ({error})") from error
    if not rows:
        raise ValueError(f"{path}: lists no pictures")
    return rows


def write_table(path: str | os.PathLike, rows: Iterable[tuple[str, str, str, str]]) -> None:
    """Write (path, task, class, split) rows, atomically."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow((*COLUMNS, "split"))
    writer.writerows(rows)
    write_atomically(path, text.getvalue(), follow=True)


def _check_header(path: str, header: list[str]) -> None:
    wrong = [f"no column {name!r}" for name in COLUMNS if name not in header]
    wrong += [f"unknown column {name!r}" for name in header if name not in (*COLUMNS, "split")]
    wrong += [f"the column {name!r} occurs twice" for name in header if header.count(name) > 1]
    if wrong:
        raise ValueError(f"{path}, line 1: {wrong[0]}; the header must be path,task,class,split (or without split)")


def _row(where: str, line: int, row: dict[str, str]) -> Row:
    empty = [name for name in COLUMNS if not row[name]]
    if empty:
        raise ValueError(f"{where}: no {empty[0]}")
    if "split" in row and not part_of(row["split"]):
        raise ValueError(f"{where}: split is {row['split']!r}, use {', '.join(PARTS)}{nearest(row['split'], PARTS)}")
    return Row(line, row["path"], "", nfc(row["task"]), nfc(row["class"]), part_of(row.get("split", "")))


def _check_path(where: str, image: str, written: str, places: Sequence[str], absolute: bool) -> None:
    if os.path.isabs(written):
        if not absolute:
            raise ValueError(f"{where}: {written} is an absolute path, which DATASET.ABSOLUTE_PATHS True would allow")
    elif not os.path.abspath(image.replace("\\", "/")).startswith(tuple(places)):
        raise ValueError(f"{where}: {written} leads out of {' and '.join(sorted(set(places)))}")
    if not is_image(os.path.basename(image)):
        raise ValueError(f"{where}: {image} is {no_image(image)}")
