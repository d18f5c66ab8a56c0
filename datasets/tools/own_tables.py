"""The table of users' own tasks beside what is on disk: what is new, gone or moved, and the extended table."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from yacs.config import CfgNode

from softcpt.files.messages import report, summary
from softcpt.files.texts import counted, nfc

from ..base import data_root
from ..folder import find_table, read_tasks
from ..layout import find_tasks, read_folder
from ..paths import Listings, not_in_utf8, relative
from ..raw import is_image, list_folder
from ..splits import PARTS
from ..stable import LEAST, folder_of, name_of, parts_of
from ..tables import TABLE_FILE, Row, extend_command, part_of, table_rows, write_table
from .check import Report


@dataclass
class Changes:
    """What differs between a table and the disk. An image that is not listed is a row of line 0 with an absolute path.

    `new` images belong to a task and a class, by the folder that they are in; for `unplaced` ones this is unknown. An
    image has `moved` if its file is gone and one new image of its task has the same file name.
    """

    table: str
    root: str
    rows: list[Row]
    new: list[Row]
    moved: dict[Row, Row]
    gone: list[Row]
    unplaced: list[str]

    @property
    def command(self) -> str:
        return extend_command(self.table, self.root)


def changes_of(cfg: CfgNode) -> Changes:
    """What has changed since the table of a config was written. Raises ValueError as `table_rows` does."""
    table, root = find_table(cfg), data_root(cfg)
    rows = table_rows(table, root, cfg.DATASET.get("ABSOLUTE_PATHS", False))
    pictures, unplaced = unlisted(rows, os.path.dirname(table), root)
    gone = [row for row in rows if not row.image]
    lost, found = Counter(map(_file, gone)), Counter(map(_file, pictures))
    once = {_file(picture): picture for picture in pictures if found[_file(picture)] == 1}
    moved = {row: once[_file(row)] for row in gone if lost[_file(row)] == 1 and _file(row) in once}
    taken = set(moved.values())
    new = [picture for picture in pictures if picture not in taken]
    return Changes(table, root, rows, new, moved, [row for row in gone if row not in moved], unplaced)


def _file(row: Row) -> tuple[str, str]:
    return row.task, nfc(os.path.basename(row.path.replace("\\", "/")))


def unlisted(rows: Sequence[Row], place: str, root: str) -> tuple[list[Row], list[str]]:
    """The images below `root` that no row of a table in the folder `place` lists, and those of unknown task or class.

    An image belongs to the task and class of the rows in its folder. In a folder without rows, it is in the class that
    the folder names, in the task of the rows in the task's folder, or in a new task.
    """
    listed, listings = {row.image for row in rows}, Listings()
    owners: dict[str, set[tuple[str, str, str]]] = defaultdict(set)  # of folders
    for row in rows:
        folder = os.path.dirname(row.image or os.path.normpath(os.path.join(place, row.path.replace("\\", "/"))))
        owners[listings.find(folder)].add((row.task, row.name, row.part))
    pictures, unplaced = [], []
    for folder, own in sorted(owners.items()):
        if os.path.join(folder, "").startswith(os.path.join(root, "")):
            names = [name for name in list_folder(folder)[1] if is_image(name)]
            images = [path for path in (os.path.join(folder, name) for name in names) if path not in listed]
            classes, parts = {owner[:2] for owner in own}, {owner[2] for owner in own}
            part = part_of(os.path.basename(os.path.dirname(folder)))
            if len(classes) == 1:
                pictures += [Row(0, image, image, *min(classes), part if parts == {part} else "") for image in images]
            else:
                unplaced += images
    for folder, picture in new_folders(root, owners):
        below = {task for path, own in owners.items() if path.startswith(os.path.join(folder, "")) for task, *_ in own}
        if len(below) > 1:
            unplaced.append(picture.image)
        else:
            pictures.append(picture._replace(task=min(below, default=picture.task)))
    return pictures, unplaced


def new_folders(root: str, known: Iterable[str]) -> Iterator[tuple[str, Row]]:
    """(folder of the task, image) of all images in class folders that are not `known`, where folders are tasks."""
    try:
        tasks = find_tasks(root)
    except (ValueError, FileNotFoundError):
        return
    for task, folder in tasks.items():
        try:
            pictures = read_folder(folder, problems=[])
        except ValueError:  # a folder that a table may have, but that is no task
            continue
        for part, classes in pictures.items():
            for name, images in classes.items():
                if os.path.dirname(images[0]) not in known:
                    yield from ((folder, Row(0, image, image, task, name, part)) for image in images)


def extended(changes: Changes, drop_gone: bool) -> list[tuple[str, str, str, str]]:
    """The rows (path, task, class, part) of a table with its new images. Rows keep their parts and their order.

    Raises ValueError for a new class with too few images to be split, and for new names that are not UTF-8.
    """
    place = os.path.dirname(changes.table)
    rows: list[Row] = []
    for row in changes.rows:
        if row in changes.moved:
            other = changes.moved[row]
            rows.append(other._replace(path=relative(other.image, place), part=other.part or row.part))
        elif row.image or not drop_gone:
            rows.append(row)
    rows += [one._replace(path=relative(one.image, place)) for one in changes.new]
    report(not_in_utf8((one.image for one in changes.new), changes.table), None)
    legal = {task: _legal(changes.rows, task) for task in {row.task for row in rows}}
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        groups[row.task, row.name].append(index)
    for (task, name), indices in groups.items():
        open_ = [i for i in indices if not rows[i].part]
        kept = [rows[i].part for i in indices if rows[i].part and rows[i].image]
        if open_ and not kept and len(open_) < LEAST:
            what = f"class {name!r} has {counted(len(open_), 'image')}: {LEAST} are needed to split a class"
            raise ValueError(f"{changes.table}: task {task!r}: {what}")
        folder = folder_of(task, changes.root)
        names = [name_of(rows[i].image or rows[i].path, folder, changes.root) for i in open_]
        for i, part in zip(open_, parts_of(names, kept, legal[task])[0]):
            rows[i] = rows[i]._replace(part=part)
    return [(row.path, row.task, row.name, row.part) for row in rows]


def _legal(rows: Sequence[Row], task: str) -> tuple[str, ...]:
    """The parts that a task has: all, unless its rows have parts without val."""
    parts = {row.part for row in rows if row.task == task}
    return ("train", "test") if parts and not parts & {"val", ""} else PARTS


def extend_table(cfg: CfgNode, drop_gone: bool) -> tuple[list[str], bool]:
    """Write the table of users' own tasks, or extend it by what is new on disk: lines that say what was done, and
    whether images of the table are gone and were kept.

    From then on the table is read instead of the folders. With `drop_gone` the rows of images that are gone are
    removed.
    """
    if not find_table(cfg):
        root = data_root(cfg)
        rows = [row for task in read_tasks(cfg) for row in task.rows(root)]
        table = os.path.join(root, TABLE_FILE)
        write_table(table, rows)
        return [f"{table}: {counted(len(rows), 'image')} ({_counts(row[3] for row in rows)})"], False
    changes = changes_of(cfg)
    rows, table = extended(changes, drop_gone), changes.table
    if rows != [(row.path, row.task, row.name, row.part) for row in changes.rows]:
        write_table(table, rows)
    parts = {row[0]: row[3] for row in rows}
    listed = counted(len(changes.rows), "image")
    lines = [f"{table}: already exists, with {listed}; all that are there keep their parts"]
    joined = [parts[relative(one.image, os.path.dirname(table))] for one in changes.new]
    lines += [f"  {counted(len(joined), 'new image')} joined: {_counts(joined)}"] if joined else ["  no new images"]
    place = os.path.dirname(table)
    lines += [f"  moved: {row.path} -> {relative(one.image, place)}" for row, one in changes.moved.items()]
    lines += [f"  {'removed' if drop_gone else 'gone'}: {row.path} ({row.part})" for row in changes.gone]
    if changes.gone and not drop_gone:
        count = f"{counted(len(changes.gone), 'image')} gone ({_counts(row.part for row in changes.gone)})"
        ways = f"Restore the images, or remove the lines: {changes.command} --drop-gone"
        lines.append(f"  {count}; the lines are kept. {ways}")
    if changes.unplaced:
        lines.append(f"  {_unplaced(changes)}")
    return lines, bool(changes.gone) and not drop_gone


def _counts(parts: Iterable[str]) -> str:
    counts = Counter(parts)
    return ", ".join(f"{counts[part]:,} {part or 'without a part'}" for part in (*PARTS, "") if counts[part])


def _unplaced(changes: Changes) -> str:
    shown = summary([relative(image, changes.root) for image in changes.unplaced])
    return f"{counted(len(changes.unplaced), 'image')} on disk not listed, in a folder of several classes: {shown}"


def table_report(cfg: CfgNode) -> Report:
    """What is new, gone or moved since the table was written."""
    changes = changes_of(cfg)
    place, root = os.path.dirname(changes.table), changes.root
    report = Report(os.path.basename(changes.table), [f"{counted(len(changes.rows), 'image')} listed"])
    if changes.new:
        known = {(row.task, row.name) for row in changes.rows}
        classes = sorted({(one.task, one.name) for one in changes.new} - known)
        more = f", new ones: {summary([name for _, name in classes])}" if classes else ""
        total = len({(one.task, one.name) for one in changes.new})
        shown = summary([relative(one.image, root) for one in changes.new])
        what = f"{counted(len(changes.new), 'new image')} in {counted(total, 'class')}{more}"
        report.notes.append(f"{what}; add them: {changes.command} ({shown})")
        report.problems += not_in_utf8((one.image for one in changes.new), changes.table)
    if changes.unplaced:
        report.notes.append(_unplaced(changes))
    if changes.moved:
        moves = [f"{row.path} -> {relative(one.image, place)}" for row, one in changes.moved.items()]
        report.problems.append(f"{counted(len(moves), 'image')} moved; follow: {changes.command} ({summary(moves)})")
    if changes.gone:
        shown = summary([f"{row.path} ({row.part or row.name})" for row in changes.gone])
        count = f"{counted(len(changes.gone), 'image')} gone"
        report.problems.append(f"{count}; restore, or remove the lines: {changes.command} --drop-gone ({shown})")
    return report
