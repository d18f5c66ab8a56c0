"""Users' own tasks without code: folders of images, or a CSV that lists images.

my_data/<task>/<class>/*.jpg                    each class is split 50/20/30
my_data/<task>/{train,val,test}/<class>/*.jpg   val is optional
my_data/tasks.csv                               path,task,class,split (split is optional)
my_data/tasks.yaml                              optional: names, templates, metrics, classes, order
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

from dassl.data.datasets import DATASET_REGISTRY, DatasetBase
from yacs.config import CfgNode

from storage.images import hint

from .base import data_root, select_items
from .messages import report, summary
from .multitask import Task, TaskSpec, join_tasks, select_specs
from .paths import relative
from .raw import is_image, list_folder
from .settings import SETTINGS_FILE, TaskSettings, read_settings
from .splits import PARTS, Items, check_classes, check_subsample, datum, split_train_val_test
from .tables import PART_OF, Pictures, read_table

TABLE_FILE = "tasks.csv"
JUNK = frozenset(("thumbs.db", "desktop.ini"))
LAYOUT = "expected <root>/<task>/<class>/* or <root>/<task>/{train,val,test}/<class>/*"


@dataclass(frozen=True)
class UserTask:
    """A task with its train, val and test items, labelled from 0.

    `folder` and `folders` are the names of the task and its classes on disk or in the table.
    """

    task: Task
    parts: tuple[Items, Items, Items]
    folder: str
    folders: tuple[str, ...]

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


def task_readers(cfg: CfgNode) -> dict[str, Callable[..., UserTask]]:
    """{name of a task: function that reads it}. The function's optional list `problems`: see `report`."""
    root = data_root(cfg)
    if not os.path.isdir(root):
        raise FileNotFoundError(f"DATASET.ROOT: no folder {root}; {LAYOUT}")
    table = find_table(cfg)
    absolute = cfg.DATASET.get("ABSOLUTE_PATHS", False)
    listed, lines = read_table(table, root, absolute) if table else ({}, {})
    found = list(listed) if table else list_folder(root)[0]
    if not found:
        raise FileNotFoundError(f"{root}: no folder of a task and no {TABLE_FILE}; {LAYOUT}")
    settings = read_settings(os.path.join(root, SETTINGS_FILE), found)
    ordered = [*settings, *(folder for folder in sorted(found) if folder not in settings)]
    settings = {folder: settings.get(folder, TaskSettings(folder)) for folder in ordered}
    specs = select_specs(
        [TaskSpec(folder, name=own.name) for folder, own in settings.items()], cfg.DATASET.get("TASKS", "all")
    )

    def reader(folder: str) -> Callable[..., UserTask]:
        def read(problems: list[str] | None = None) -> UserTask:
            path, own = os.path.join(root, folder), settings[folder]
            pictures = listed[folder] if table else read_folder(path, problems)
            return make_task(pictures, own, table or path, lines.get(folder, {}), problems)

        return read

    return {settings[spec.dataset].name: reader(spec.dataset) for spec in specs}


def find_table(cfg: CfgNode) -> str:
    """The path of the CSV, or "" if tasks are folders."""
    root, named = data_root(cfg), cfg.DATASET.get("CSV", "")
    path = os.path.join(root, named or TABLE_FILE)
    if named and not os.path.isfile(path):
        raise FileNotFoundError(f"DATASET.CSV: no file {path}")
    return path if os.path.isfile(path) else ""


def read_folder(folder: str, problems: list[str] | None = None) -> Pictures:
    """The images of one task by part ("" without parts) and class folder. `problems`: see `report`."""
    names = list_folder(folder)[0]
    parts = {name: PART_OF.get(name) for name in names}
    # A folder of images called "train" is a class, not a part.
    if "train" not in names or any(is_image(name) for name in list_folder(os.path.join(folder, "train"))[1]):
        return {"": read_classes(folder, problems)}
    others = [name for name, part in parts.items() if part is None]
    if others:
        raise ValueError(f"{folder}: has a train folder, so {others[0]!r} should be val or test; {LAYOUT}")
    twice = [name for name in names if list(parts.values()).count(parts[name]) > 1]
    if twice:
        raise ValueError(f"{folder}: {' and '.join(twice)} are the same part")
    return {parts[name]: read_classes(os.path.join(folder, name), problems) for name in names}


def read_classes(folder: str, problems: list[str] | None = None) -> dict[str, list[str]]:
    """{class folder: paths of its images}. Raises ValueError, or `report`, for any other file or folder."""
    classes, files = list_folder(folder)
    stray = [name for name in files if name.lower() not in JUNK]
    wrong = [f"{folder}: {name} is not in a class folder; {LAYOUT}" for name in stray]
    if not classes:
        raise ValueError("\n".join(wrong) or f"{folder}: no class folders; {LAYOUT}")
    pictures = {}
    for name in classes:
        path = os.path.join(folder, name)
        deeper, files = list_folder(path)
        files = [file for file in files if file.lower() not in JUNK]
        others = [*deeper, *(file for file in files if not is_image(file))]
        wrong += [f"{os.path.join(path, o)}: not an image file, although in a class folder{hint(o)}" for o in others]
        pictures[name] = [os.path.join(path, file) for file in files if is_image(file)]
        if not pictures[name] and not others:
            wrong.append(f"{path}: a class folder without images")
    report(wrong, problems)
    return {name: paths for name, paths in pictures.items() if paths}


def make_task(
    pictures: Pictures, settings: TaskSettings, source: str, lines: dict[str, int], problems: list[str] | None = None
) -> UserTask:
    """A task from its images: label the classes and, if there are no parts, split each 50/20/30.

    `source` and `lines` (of the classes in a CSV) are for messages. Raises ValueError, or `report`, for a class with no
    images in a part or too few to split, and for two classes of one name.
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
    where = f"{source}: task {settings.folder!r}"
    try:
        parts = split_train_val_test(lists[""]) if "" in lists else tuple(lists.get(part, []) for part in PARTS)
    except ValueError as error:
        raise ValueError(f"{where}: {error}, or provide train and test parts") from error
    wrong = []
    for part, items in zip(PARTS, parts):
        present = {item.label for item in items}
        absent = [name for label, name in enumerate(classes) if label not in present]
        if absent and (items or part != "val"):
            line = f" (first named in line {lines[absent[0]]})" if absent[0] in lines else ""
            wrong.append(f"{where}: no {part} image of the class {summary(absent)}{line}")
    report(wrong, problems)
    check_classes(*parts, source=where, problems=problems)
    task = Task(settings.name, tuple(classes.values()), settings.metric, settings.template)
    return UserTask(task, parts, settings.folder, tuple(classes))
