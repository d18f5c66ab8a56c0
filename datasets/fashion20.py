"""Fashion-20: twenty tasks about clothing (78 classes), collected by the SoftCPT paper's authors."""

import os

from dassl.data.datasets import DATASET_REGISTRY

from .base import SplitDataset
from .multitask import MultiTask, TaskSpec
from .raw import class_folders, folder_items, read_rows
from .splits import Items, split_train_val_test

# The tasks' folders are numbered in this order: name, the words of the task, the kind of garment in the prompt.
TASKS = (
    ("PantsType", "pants type recognition", "pants"),
    ("PantsLength", "pants length recognition", "pants"),
    ("WaistType", "pants waist type recognition", "pants"),
    ("CollarType", "collar type recognition", "tops"),
    ("SleeveType", "sleeve type recognition", "tops"),
    ("SleeveLength", "sleeve length recognition", "tops"),
    ("TopPattern", "top pattern recognition", "tops"),
    ("ShoeMaterial", "shoe material recognition", "shoes"),
    ("ShoeStyle", "shoe style recognition", "shoes"),
    ("HeelShape", "heel shape recognition", "shoes"),
    ("HeelThickness", "heel thickness recognition", "shoes"),
    ("HeelHeight", "heel height recognition", "shoes"),
    ("UpperHeight", "shoe upper height recognition", "shoes"),
    ("ToeCapStyle", "toe cap style recognition", "shoes"),
    ("HatStyle", "hat style recognition", "hat"),
    ("SocksLength", "socks length recognition", "socks"),
    ("SocksType", "socks type recognition", "socks"),
    ("SkirtLength", "skirt length recognition", "skirt"),
    ("ButtonRows", "recognition of the number of button rows", "tops"),
    ("UnderwearStyle", "underwear style recognition", "underwear"),
)


class FashionTask(SplitDataset):
    """One task: images/<task>/<class>/*, both numbers; `task_info.csv`, with tabs, has the names of the classes.

    Split 50/20/30 per class (the public code splits per task, so that rare classes may miss a part).
    """

    dataset_dir = "fashion20"
    lists_files = True
    index = 0
    metric = "mean_per_class"

    def read_raw(self) -> tuple[Items, Items, Items]:
        names = self.read_names()
        items = []
        for folder in class_folders(self.image_dir):
            number = os.path.basename(folder)
            if not (number.isascii() and number.isdigit()) or int(number) >= len(names):
                raise ValueError(f"{folder}: not one of the {len(names)} classes of task {self.index} in task_info.csv")
            items += folder_items(folder, int(number), names[int(number)])
        return split_train_val_test(items)

    def read_names(self) -> list[str]:
        path = os.path.join(self.dataset_dir, "task_info.csv")
        rows = list(read_rows(path, ("index", "task", "description", "classes"), sep="\t"))
        if len(rows) != len(TASKS) + 1:
            raise ValueError(f"{path}: expected a header and {len(TASKS)} tasks, found {len(rows)} lines")
        return [name.strip() for name in rows[1 + self.index][1][3].split(",")]


def _register(index: int, name: str, task_name: str, garment: str) -> None:
    attributes = {
        "__doc__": f"Task {index} of Fashion-20.",
        "__module__": __name__,
        "index": index,
        "image_dir": f"images/{index}",
        "files": (f"images/{index}/*/*", "task_info.csv"),
        "task_name": task_name,
        "template": f"a photo of {{}}, a type of {garment}.",
    }
    dataset = type(f"Fashion{name}", (FashionTask,), attributes)
    DATASET_REGISTRY.register(dataset)
    globals()[dataset.__name__] = dataset


for _index, _task in enumerate(TASKS):
    _register(_index, *_task)


@DATASET_REGISTRY.register()
class Fashion20(MultiTask):
    """All twenty tasks."""

    n_classes = 78
    specs = tuple(TaskSpec(f"Fashion{name}") for name, *_ in TASKS)
