"""Fashion-20: twenty tasks about clothing with 78 classes, collected by the authors of the SoftCPT paper."""

import os

from dassl.data.datasets import DATASET_REGISTRY

from .base import SplitDataset, declare
from .multitask import MultiTask, TaskSpec
from .raw import class_folders, class_items, read_rows
from .splits import Items, split_train_val_test

TASKS = (  # name, the task as in the release, kind of garment for the prompt; in the order of the folders
    ("PantsType", "pants type", "pants"),
    ("PantsLength", "pants length", "pants"),
    ("WaistType", "waist type", "pants"),
    ("CollarType", "collar type", "tops"),
    ("SleeveType", "sleeve type", "tops"),
    ("SleeveLength", "sleeve length", "tops"),
    ("TopPattern", "top pattern", "tops"),
    ("ShoeMaterial", "shoe material", "shoes"),
    ("ShoeStyle", "shoe style", "shoes"),
    ("HeelShape", "heel shape", "shoes"),
    ("HeelThickness", "heel thickness", "shoes"),
    ("HeelHeight", "heel height", "shoes"),
    ("UpperHeight", "upper height", "shoes"),
    ("ToeCapStyle", "toe cap style", "shoes"),
    ("HatStyle", "hat style", "hat"),
    ("SocksLength", "socks length", "socks"),
    ("SocksType", "socks type", "socks"),
    ("SkirtLength", "skirt length", "skirt"),
    ("ButtonRows", "number of button rows", "tops"),
    ("UnderwearStyle", "underwear style", "underwear"),
)


class FashionTask(SplitDataset):
    """One task: images/<task>/<class>/*, both numbers. The tab-separated `task_info.csv` names the classes.

    Each class is split 50/20/30. (The public code splits each task as a whole, so a part may lack a rare class.)
    """

    dataset_dir = "fashion20"
    lists_files = True
    index = 0
    metric = "mean_per_class"

    def read_raw(self) -> tuple[Items, Items, Items]:
        names = self.read_names()
        folders = []
        for folder in class_folders(self.image_dir):
            number = os.path.basename(folder)
            if not (number.isascii() and number.isdigit()) or int(number) >= len(names):
                raise ValueError(f"{folder}: not one of the {len(names)} classes of task {self.index} in task_info.csv")
            folders.append((folder, int(number), names[int(number)]))
        return split_train_val_test(class_items(folders))

    def listed_classes(self) -> dict[int, str]:
        return dict(enumerate(self.read_names()))

    def read_names(self) -> list[str]:
        path = os.path.join(self.dataset_dir, "task_info.csv")
        rows = list(read_rows(path, ("index", "task", "description", "classes"), sep="\t"))
        if len(rows) != len(TASKS) + 1:
            raise ValueError(f"{path}: expected a header and {len(TASKS)} tasks, found {len(rows)} lines")
        return [name.strip() for name in rows[1 + self.index][1][3].split(",")]


for _index, (_name, _task_name, _garment) in enumerate(TASKS):
    declare(
        FashionTask,
        f"Fashion{_name}",
        __name__,
        f"Task {_index} of Fashion-20.",
        index=_index,
        image_dir=f"images/{_index}",
        files=(f"images/{_index}/*/*", "task_info.csv"),
        task_name=_task_name,
        template=f"a photo of {{}}, a type of {_garment}.",
    )


@DATASET_REGISTRY.register()
class Fashion20(MultiTask):
    """All twenty tasks."""

    n_classes = 78
    specs = tuple(TaskSpec(f"Fashion{name}") for name, *_ in TASKS)
