"""SUN397."""

import os

from dassl.data.datasets import DATASET_REGISTRY

from .base import SplitDataset
from .raw import label_of, read_rows
from .splits import Items, datum, split_train_val


@DATASET_REGISTRY.register()
class SUN397(SplitDataset):
    """J. Xiao, J. Hays, K. Ehinger, A. Oliva, A. Torralba, "SUN Database", 2010: partition 1."""

    dataset_dir = "sun397"
    image_dir = "SUN397"
    files = ("SUN397/*/*", "ClassName.txt", "Training_01.txt", "Testing_01.txt")
    task_name = "scene recognition"
    n_classes = 397
    n_images = (15880, 3970, 19850)

    def read_raw(self) -> tuple[Items, Items, Items]:
        rows = read_rows(os.path.join(self.dataset_dir, "ClassName.txt"), ("class",))
        labels = {folder: label for label, (_, (folder,)) in enumerate(rows)}
        train, val = split_train_val(self.read_list("Training_01.txt", labels))
        return train, val, self.read_list("Testing_01.txt", labels)

    def read_list(self, file: str, labels: dict[str, int]) -> Items:
        path = os.path.join(self.dataset_dir, file)
        items = []
        for line, (image,) in read_rows(path, ("image",)):
            folder = os.path.dirname(image)  # "/a/arch" or "/a/apse/indoor": the second level comes first in the name
            name = " ".join(reversed(folder.split("/")[2:]))
            items.append(datum(os.path.join(self.image_dir, image[1:]), label_of(folder, labels, path, line), name))
        return items
