"""Several data sets as one Dassl data set, whose domains are the tasks.

`Datum.domain` is the index of the task, and `Datum.label` the offset of the task plus the label within it. The classes
of a task are a contiguous range, so Dassl's DataManager and samplers work unchanged. Any registered Dassl data set can
be a task; a `TaskSpec` of the benchmark declares what its class does not.
"""

import contextlib
import json
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dassl.data.datasets import DATASET_REGISTRY, DatasetBase
from yacs.config import CfgNode

from softcpt.files import write_atomically
from softcpt.files.messages import nearest, summary
from softcpt.files.texts import nfc
from softcpt.tasks import DEFAULT_TEMPLATE, METRICS, Task, words

from .base import data_root
from .paths import relative
from .selection import select_specs
from .splits import PARTS, Items, check_subsample, datum, missing_labels
from .tables import write_table


@dataclass(frozen=True)
class TaskSpec:
    """A task of a benchmark: the name of a registered data set, and what overrides the attributes of its class."""

    dataset: str
    name: str | None = None
    template: str | None = None
    metric: str | None = None

    @property
    def task_name(self) -> str:
        """The name given here, else the `task_name` of the class, else the name of the class as words."""
        return nfc(self.name or getattr(_registered(self.dataset), "task_name", "") or words(self.dataset))

    def task(self, dataset: object, classnames: Iterable[str]) -> Task:
        """The task that this, its data set or the class of it, or else the defaults, describe."""
        return Task(
            name=self.name or getattr(dataset, "task_name", "") or words(self.dataset),
            classnames=tuple(classnames),
            metric=str(self.metric or getattr(dataset, "metric", METRICS[0])),
            template=str(self.template or getattr(dataset, "template", DEFAULT_TEMPLATE)),
        )


class MultiTask(DatasetBase):
    """The data sets of `specs` that `DATASET.TASKS` selects, as one data set with a domain per task.

    `DATASET.TASKS` selects tasks, see `select_specs`. All data sets are built with the same config and random state, so
    a task's images do not depend on the other tasks.

    Raises ValueError for an unknown task or data set, two tasks with one name, or a class without training images, and
    one FileNotFoundError for the missing data of all tasks.
    """

    specs: tuple[TaskSpec, ...] = ()
    upright = False  # of all its tasks: see SplitDataset
    n_classes = 0  # of all tasks; 0 for the sum over the tasks

    def __init__(self, cfg: CfgNode):
        check_subsample(cfg.DATASET.get("SUBSAMPLE_CLASSES", "all"))
        self.root = data_root(cfg)
        specs = select_specs(self.specs, cfg.DATASET.get("TASKS", "all"))
        tasks, lists, missing = [], [], []
        for spec in specs:
            try:
                dataset = build_task(spec, cfg)
            except FileNotFoundError as error:  # one message names all missing data
                missing.append(str(error))
                continue
            tasks.append(task_of(dataset, spec))
            lists.append((dataset.train_x, dataset.val, dataset.test))
        if missing:
            name = type(self).__name__
            what = f"{name}: the data of {len(missing)} of {len(specs)} tasks are missing."
            command = f"python scripts/data.py download {name} --root {self.root}"
            raise FileNotFoundError("\n\n".join([f"{what} Download what is public: {command}", *missing]))
        self.tasks = tuple(tasks)
        train, val, test = join_tasks(self.tasks, lists)
        super().__init__(train_x=train, val=val or None, test=test)


def join_tasks(tasks: Sequence[Task], lists: Sequence[Sequence[Items | None]]) -> tuple[Items, Items, Items]:
    """The joined train, val and test lists of several tasks, with their domains and labels as described above."""
    joined: tuple[Items, Items, Items] = ([], [], [])
    n_classes = 0
    for index, (task, parts) in enumerate(zip(tasks, lists)):
        for all_items, items in zip(joined, parts):
            all_items.extend(datum(i.impath, i.label + n_classes, i.classname, index) for i in items or ())
        n_classes += len(task.classnames)
    return joined


def task_names(cfg: CfgNode) -> list[str]:
    """The names of the tasks that a config selects, in order. A benchmark declares them; other data sets are read from
    disk. Raises ValueError and FileNotFoundError as the data set does."""
    cls = _registered(cfg.DATASET.NAME)
    specs = getattr(cls, "specs", ())
    if not specs:
        return [task.name for task in tasks_of(cls(cfg))]
    return [spec.task_name for spec in select_specs(specs, cfg.DATASET.get("TASKS", "all"))]


def build_task(spec: TaskSpec, cfg: CfgNode) -> DatasetBase:
    """The data set of one task. Raises ValueError if it is not registered or has several tasks itself."""
    own = cfg.clone()
    own.defrost()
    own.DATASET.NAME = spec.dataset
    if "TASKS" in own.DATASET:
        own.DATASET.TASKS = "all"
    own.freeze()
    with _seeded(cfg.SEED):
        dataset = _registered(spec.dataset)(own)
    if hasattr(dataset, "tasks"):
        raise ValueError(f"data set {spec.dataset!r} has tasks of its own and cannot be a task")
    return dataset


def task_of(dataset: DatasetBase, spec: TaskSpec | None = None) -> Task:
    """An ordinary data set as a task, described by `spec`, else by its class, else by the defaults.

    Raises ValueError for a class without training images, from which Dassl takes the class names.
    """
    spec = spec or TaskSpec(type(dataset).__name__)
    seen = {i.label: i.classname for part in (dataset.train_x, dataset.val, dataset.test) for i in part or ()}
    untrained = sorted(set(seen) - set(dataset.lab2cname)) or missing_labels(seen)
    if untrained:
        named = summary([seen[label] for label in untrained if label in seen])
        what = f"no training image for the labels {summary(untrained)}{f' ({named})' * bool(named)}"
        raise ValueError(f"task {spec.task(dataset, ()).name!r} ({spec.dataset}): {what}")
    return spec.task(dataset, (dataset.lab2cname[label] for label in range(dataset.num_classes)))


def tasks_of(dataset: DatasetBase) -> tuple[Task, ...]:
    """The tasks of a data set in label order: its `tasks`, or the single task of an ordinary Dassl data set."""
    return tuple(dataset.tasks) if hasattr(dataset, "tasks") else (task_of(dataset),)


def _registered(name: str) -> type[DatasetBase]:
    known = DATASET_REGISTRY.registered_names()
    if name not in known:
        raise ValueError(f"no data set {name!r} is registered{nearest(name, known)}; known: {', '.join(sorted(known))}")
    return DATASET_REGISTRY.get(name)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed Python's global generator, from which other projects' data sets draw, and restore it afterwards."""
    state = random.getstate()
    if seed >= 0:
        random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def images_by_task(dataset: DatasetBase, root: str = "") -> dict[str, dict[str, list[tuple[str, str]]]]:
    """{task name: {"train", "val", "test": [(relative path, path)]}}: the images of a run, in order.

    Relative paths have forward slashes and start at `root`, by default the data set's own; without either they are
    absolute.
    """
    root = os.path.abspath(os.path.expanduser(root)) if root else getattr(dataset, "root", "")
    tasks = tasks_of(dataset)
    images: dict[str, dict[str, list]] = {task.name: {part: [] for part in PARTS} for task in tasks}
    for part, items in zip(PARTS, (dataset.train_x, dataset.val, dataset.test)):
        for item in items or ():
            # The domains of an ordinary data set are not tasks.
            task = tasks[item.domain] if len(tasks) > 1 else tasks[0]
            images[task.name][part].append((relative(item.impath, root), item.impath))
    return images


def drawn_shots(dataset: DatasetBase, root: str = "") -> dict[str, dict[str, list[str]]]:
    """{task name: {"train", "val": [relative paths]}}: the drawn images of `images_by_task`."""
    images = images_by_task(dataset, root)
    return {name: {part: [path for path, _ in own[part]] for part in PARTS[:2]} for name, own in images.items()}


def write_split_used(dataset: DatasetBase, path: str | os.PathLike) -> None:
    """Write the split of users' own tasks as a table path,task,class,split; nothing for other data sets.

    Each run splits folders again: new images join, and a class with few images may be split in another way.
    """
    rows = getattr(dataset, "split_rows", None)
    if rows is not None:
        write_table(path, rows)


def write_shots(dataset: DatasetBase, path: str | os.PathLike, root: str = "") -> None:
    """Write `drawn_shots` as JSON, atomically."""
    write_atomically(path, json.dumps(drawn_shots(dataset, root), indent=1, ensure_ascii=False) + "\n")
