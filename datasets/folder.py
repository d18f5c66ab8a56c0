"""Users' own tasks without code: folders of images (`layout`), or a CSV that lists images (`tables`).

Images without parts are split by their names, about 50/20/30 (`stable`). An optional tasks.yaml has the names,
templates, metrics, classes and the order (`settings`).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from dassl.data.datasets import DATASET_REGISTRY, DatasetBase
from yacs.config import CfgNode

from softcpt.files.messages import report, summary
from softcpt.tasks import Task

from .base import data_root, select_items
from .layout import LAYOUT, find_tasks, read_folder
from .multitask import TaskSpec, join_tasks, select_specs
from .paths import relative
from .settings import SETTINGS_FILE, TaskSettings, read_settings
from .splits import PARTS, Items, check_classes, check_subsample, datum
from .stable import folder_of, split_by_name
from .tables import TABLE_FILE, Pictures, read_table


@dataclass(frozen=True)
class UserTask:
    """A task with its train, val and test items, labelled from 0.

    `folder` and `folders` are the names of the task and its classes on disk or in the table. `filled` are the classes
    in which an image was moved to a part that would be empty.
    """

    task: Task
    parts: tuple[Items, Items, Items]
    folder: str
    folders: tuple[str, ...]
    filled: tuple[str, ...] = ()

    def rows(self, root: str) -> list[tuple[str, str, str, str]]:
        """(path, task, class, part) of all images, as in a table in the folder `root`."""
        return [
            (relative(item.impath, root), self.folder, self.folders[item.label], part)
            for part, items in zip(PARTS, self.parts)
            for item in items
        ]


@DATASET_REGISTRY.register()
class FolderTasks(DatasetBase):
    """The tasks in the table `DATASET.CSV` (default: tasks.csv), or else in the folders below `DATASET.ROOT`.

    Tasks and classes are sorted by name unless tasks.yaml gives an order. `DATASET.TASKS` takes names of tasks or
    folders. Each task is a domain; shots and halves of the classes work as in every data set here. Images are turned as
    their EXIF entries say, unless INPUT.UPRIGHT is False.

    Raises FileNotFoundError for missing files, and ValueError with file and line for what cannot be read as tasks.
    """

    upright = True

    def __init__(self, cfg: CfgNode):
        check_subsample(cfg.DATASET.get("SUBSAMPLE_CLASSES", "all"))
        self.root = data_root(cfg)
        tasks, lists = [], []
        self.split_rows: list[tuple[str, str, str, str]] = []  # (path, task, class, part) of all images
        for user_task in read_tasks(cfg):
            self.split_rows += user_task.rows(self.root)
            name = user_task.task.name
            parts = select_items(user_task.parts, cfg, f"task {name!r}")
            kept = {item.label: item.classname for item in parts[0]}
            classnames = tuple(kept[label] for label in sorted(kept))
            tasks.append(Task(name, classnames, user_task.task.metric, user_task.task.template))
            lists.append(parts)
        self.tasks = tuple(tasks)
        train, val, test = join_tasks(self.tasks, lists)
        super().__init__(train_x=train, val=val or None, test=test)


def read_tasks(cfg: CfgNode) -> list[UserTask]:
    """The tasks that `DATASET.TASKS` selects, with all images."""
    return [read() for read in task_readers(cfg).values()]


def task_readers(cfg: CfgNode, problems: list[str] | None = None) -> dict[str, Callable[..., UserTask]]:
    """{name of a task: function that reads it}. The function's optional list `problems`: see `report`; the one given
    here collects images of the table that are gone."""
    root = data_root(cfg)
    if not os.path.isdir(root):
        raise FileNotFoundError(f"DATASET.ROOT: no folder {root}; {LAYOUT}")
    table = find_table(cfg)
    absolute = cfg.DATASET.get("ABSOLUTE_PATHS", False)
    listed, lines = read_table(table, root, absolute, problems) if table else ({}, {})
    folders = {} if table else find_tasks(root)
    found = list(listed) if table else list(folders)
    settings = read_settings(os.path.join(root, SETTINGS_FILE), found)
    ordered = [*settings, *(folder for folder in sorted(found) if folder not in settings)]
    settings = {folder: settings.get(folder, TaskSettings(folder)) for folder in ordered}
    specs = select_specs(
        [TaskSpec(folder, name=own.name) for folder, own in settings.items()], cfg.DATASET.get("TASKS", "all")
    )

    def reader(task: str) -> Callable[..., UserTask]:
        def read(problems: list[str] | None = None) -> UserTask:
            folder = folder_of(task, root) if table else folders[task]
            pictures = listed[task] if table else read_folder(folder, problems)
            source = Source(table or folder, root, folder, lines.get(task, {}))
            return make_task(pictures, settings[task], source, problems)

        return read

    return {settings[spec.dataset].name: reader(spec.dataset) for spec in specs}


def find_table(cfg: CfgNode) -> str:
    """The path of the CSV, or "" if tasks are folders."""
    root, named = data_root(cfg), cfg.DATASET.get("CSV", "")
    path = os.path.join(root, named or TABLE_FILE)
    if named and not os.path.isfile(path):
        raise FileNotFoundError(f"DATASET.CSV: no file {path}")
    return path if os.path.isfile(path) else ""


class Source(NamedTuple):
    """Where the images of a task come from: the CSV or its folder, for messages, and the folder that names them."""

    path: str
    root: str
    folder: str  # see `stable.name_of`
    lines: dict[str, int] = {}  # of the first image of each class in a CSV


def make_task(
    pictures: Pictures, settings: TaskSettings, source: Source, problems: list[str] | None = None
) -> UserTask:
    """A task from its images: label the classes and, if there are no parts, split them by their names.

    Raises ValueError, or `report`, for a class with no images in a part or too few to split, and for two classes of
    one name.
    """
    classes = settings.order({name for part in pictures.values() for name in part})
    lists = {
        part: [
            datum(path, label, classes[name])
            for label, name in enumerate(classes)
            for path in pictures[part].get(name, ())
        ]
        for part in pictures
    }
    where = f"{source.path}: task {settings.folder!r}"
    filled: list[str] = []
    try:
        if "" in lists:
            parts, filled = split_by_name(lists[""], source.folder, source.root)
        else:
            parts = lists.get("train", []), lists.get("val", []), lists.get("test", [])
    except ValueError as error:
        raise ValueError(f"{where}: {error}, or provide train and test parts") from error
    wrong = []
    for part, items in zip(PARTS, parts):
        present = {item.label for item in items}
        absent = [name for label, name in enumerate(classes) if label not in present]
        if absent and (items or part != "val"):
            line = f" (first named in line {source.lines[absent[0]]})" if absent[0] in source.lines else ""
            wrong.append(f"{where}: no {part} image of the class {summary(absent)}{line}")
    report(wrong, problems)
    check_classes(*parts, source=where, problems=problems)
    task = Task(settings.name, tuple(classes.values()), settings.metric, settings.template)
    return UserTask(task, parts, settings.folder, tuple(classes), tuple(filled))
