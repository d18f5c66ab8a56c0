"""Registered data sets as they are on disk, with all their images, for the tools."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from dassl.data.datasets import DATASET_REGISTRY, DatasetBase
from yacs.config import CfgNode

from softcpt.files.messages import nearest
from softcpt.files.texts import counted
from softcpt.tasks import Task

from ..base import SplitDataset
from ..folder import FolderTasks, UserTask, task_readers
from ..multitask import MultiTask, TaskSpec, build_task, task_of
from ..raw import is_image
from ..selection import select_specs
from ..splits import Items


@dataclass(frozen=True)
class Contents:
    """A task with all its images, labelled from 0.

    `dataset` is its class, None for users' own folders; `filled`: see `UserTask`.
    """

    name: str
    task: Task
    parts: tuple[Items, Items, Items]
    dataset: type[DatasetBase] | None = None
    filled: tuple[str, ...] = ()

    @property
    def declared(self) -> type[SplitDataset] | None:
        """The class, if it declares what to expect."""
        return self.dataset if self.dataset and issubclass(self.dataset, SplitDataset) else None

    @property
    def upright(self) -> bool:
        """Whether its images are turned as their EXIF entries say."""
        return getattr(self.dataset or FolderTasks, "upright", False)


def dataset_class(name: str) -> type[DatasetBase]:
    """The registered class. Raises ValueError, with the nearest name, for an unknown one."""
    return DATASET_REGISTRY.get(registered_name(name))


def registered_name(name: str) -> str:
    """The registered spelling of a data set's name, given in any case. Raises ValueError as `dataset_class` does."""
    known = DATASET_REGISTRY.registered_names()
    alike = [other for other in known if other.lower() == name.lower()]
    if name not in known and len(alike) != 1:
        raise ValueError(f"no data set {name!r}{nearest(name, known)}; python scripts/data.py list shows all")
    return name if name in known else alike[0]


def specs_of(name: str) -> tuple[TaskSpec, ...]:
    """The tasks of a benchmark; a single data set is its own task."""
    dataset = dataset_class(name)
    return dataset.specs if issubclass(dataset, MultiTask) else (TaskSpec(name),)


def is_own_tasks(name: str) -> bool:
    """Whether it is the data set of users' own folders."""
    return issubclass(dataset_class(name), FolderTasks)


def readers_of(
    name: str, cfg: CfgNode, problems: list[str] | None = None
) -> dict[str, Callable[[list[str] | None], Contents]]:
    """{task: function that reads it}, so that a task that cannot be read does not hide the others. A list that is given
    to the function collects the problems of a task that can be read; with None they are raised. So does the list given
    here with those of all tasks."""
    if is_own_tasks(name):
        found = task_readers(cfg, problems)
        return {task: partial(_own, read) for task, read in found.items()}
    return {spec.dataset: partial(read_spec, spec, cfg) for spec in specs_of(name)}


def _own(read: Callable[..., UserTask], problems: list[str] | None = None) -> Contents:
    task = read(problems)
    return Contents(task.task.name, task.task, task.parts, filled=task.filled)


def read_spec(spec: TaskSpec, cfg: CfgNode, problems: list[str] | None = None) -> Contents:
    """All images of a data set. Raises as its constructor does; `problems`: see `SplitDataset.read`."""
    dataset = dataset_class(spec.dataset)
    if not issubclass(dataset, SplitDataset):
        built = build_task(spec, cfg)
        return Contents(spec.dataset, task_of(built, spec), (built.train_x, built.val or [], built.test or []), dataset)
    parts = dataset.unloaded(cfg).read(problems)
    names = {item.label: item.classname for part in parts for item in part}
    return Contents(spec.dataset, spec.task(dataset, (names[label] for label in sorted(names))), parts, dataset)


def not_in_split(dataset: SplitDataset) -> str:
    """How many images in the folder of a data set its split file does not list, for a message; "" if it lists all. A
    published split stays as it is: some published folders hold more images than are used."""
    try:
        listed = {item.impath for part in dataset.read([]) for item in part}
    except (ValueError, OSError):  # `check` says what is wrong with it
        return ""
    found = (os.path.join(folder, name) for folder, _, names in os.walk(dataset.image_dir) for name in names)
    others = sorted(path for path in found if is_image(os.path.basename(path)) and path not in listed)
    first = f", the first is {others[0]}" if others else ""
    return f" and stays as it is; {counted(len(others), 'image')} on disk not in it{first}" if others else ""


def read_all(name: str, cfg: CfgNode) -> list[Contents]:
    """The tasks of a data set with all their images."""
    return [read(None) for read in readers_of(name, cfg).values()]


def missing_data(cfg: CfgNode) -> list[str]:
    """A line for each data set of the tasks that a config selects that is not on disk, with the command that gets it.
    Reads no images and no lists."""
    dataset = dataset_class(cfg.DATASET.NAME)
    try:
        if is_own_tasks(cfg.DATASET.NAME):
            task_readers(cfg)
            return []
        specs = specs_of(cfg.DATASET.NAME)
        if issubclass(dataset, MultiTask):
            specs = select_specs(specs, cfg.DATASET.TASKS)
        classes = dict.fromkeys(dataset_class(spec.dataset) for spec in specs)
        errors = [cls.unloaded(cfg).absent() for cls in classes if issubclass(cls, SplitDataset)]
    except (ValueError, OSError) as error:
        return [str(error)]
    texts = [str(error).splitlines() for error in errors if error]
    return [" ".join([first, *(line.strip() for line in more if "Get it:" in line)]) for first, *more in texts]


def state_on_disk(name: str, cfg: CfgNode) -> str:
    """How much of a data set is on disk, in a few words, without listing or reading images."""
    dataset = dataset_class(name)
    if is_own_tasks(name):
        return "your folders: --root"
    if issubclass(dataset, MultiTask):
        there = [state_on_disk(spec.dataset, cfg).startswith("yes") for spec in dataset.specs]
        return f"{sum(there)} of {counted(len(there), 'task')}"
    if not issubclass(dataset, SplitDataset):
        return "?"
    unloaded = dataset.unloaded(cfg)
    if not os.path.isdir(unloaded.dataset_dir):
        return "no"
    if os.path.exists(unloaded.split_path):
        return "yes, with split file"
    absent = unloaded.missing_files() if unloaded.files else [os.path.basename(unloaded.split_path)]
    return f"incomplete: no {absent[0]}" if absent else "yes"


def count_classes(name: str, cfg: CfgNode) -> int:
    """The declared number of classes, else that on disk; 0 if it is unknown."""
    dataset = dataset_class(name)
    declared = getattr(dataset, "n_classes", 0)
    if declared or is_own_tasks(name):
        return declared
    counts = []
    for spec in specs_of(name):
        count = getattr(dataset_class(spec.dataset), "n_classes", 0)
        try:
            counts.append(count or len(read_spec(spec, cfg).task.classnames))
        except (ValueError, OSError):
            return 0
    return sum(counts)
