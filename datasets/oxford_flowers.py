"""Oxford Flowers 102."""

import os

from dassl.data.datasets import DATASET_REGISTRY

from storage import read_json

from .base import SplitDataset
from .raw import read_mat
from .splits import Items, datum, split_train_val_test


@DATASET_REGISTRY.register()
class OxfordFlowers(SplitDataset):
    """M.-E. Nilsback, A. Zisserman, "Automated flower classification over a large number of classes", 2008.

    As in CoOp, the official split (10 training images per class) is not used.
    """

    dataset_dir = "oxford_flowers"
    image_dir = "jpg"
    files = ("jpg/image_*.jpg", "imagelabels.mat", "cat_to_name.json")
    task_name = "flower species recognition"
    template = "a photo of a {}, a type of flower."
    metric = "mean_per_class"
    n_classes = 102
    n_images = (4093, 1633, 2463)

    def read_raw(self) -> tuple[Items, Items, Items]:
        path = os.path.join(self.dataset_dir, "cat_to_name.json")
        names = read_json(path)
        if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
            raise ValueError(f"{path}: expected an object of class numbers with their names")
        items = []
        for number, label in enumerate(read_mat(os.path.join(self.dataset_dir, "imagelabels.mat"), "labels")[0], 1):
            if str(label) not in names:
                raise ValueError(f"{path}: no name for the class {label} of image {number} in imagelabels.mat")
            image = os.path.join(self.image_dir, f"image_{number:05d}.jpg")
            items.append(datum(image, int(label) - 1, names[str(label)]))
        return split_train_val_test(items)
