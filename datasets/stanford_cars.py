"""Stanford Cars."""

import os

from dassl.data.datasets import DATASET_REGISTRY

from .base import SplitDataset
from .raw import read_mat
from .splits import Items, datum, split_train_val


@DATASET_REGISTRY.register()
class StanfordCars(SplitDataset):
    """J. Krause, M. Stark, J. Deng, L. Fei-Fei, "3D Object Representations for Fine-Grained Categorization", 2013."""

    dataset_dir = "stanford_cars"
    image_dir = ""
    files = (
        "cars_train/*.jpg",
        "cars_test/*.jpg",
        "devkit/cars_meta.mat",
        "devkit/cars_train_annos.mat",
        "cars_test_annos_withlabels.mat",
    )
    task_name = "car model recognition"
    n_classes = 196
    n_images = (6509, 1635, 8041)

    def read_raw(self) -> tuple[Items, Items, Items]:
        meta = read_mat(os.path.join(self.dataset_dir, "devkit", "cars_meta.mat"), "class_names")
        names = [self.year_first(str(name[0])) for name in meta[0]]
        train, val = split_train_val(self.read_list("cars_train", "devkit/cars_train_annos.mat", names))
        return train, val, self.read_list("cars_test", "cars_test_annos_withlabels.mat", names)

    @staticmethod
    def year_first(name: str) -> str:
        """'Audi TTS Coupe 2012' is '2012 Audi TTS Coupe'."""
        model, _, year = name.rpartition(" ")
        return f"{year} {model}".strip()

    def read_list(self, folder: str, file: str, names: list[str]) -> Items:
        path = os.path.join(self.dataset_dir, file)
        rows = read_mat(path, "annotations")[0]
        if not {"class", "fname"} <= set(rows.dtype.names or ()):
            raise ValueError(f"{path}: the annotations must have the fields class and fname, found {rows.dtype.names}")
        items = []
        for index, (number, image) in enumerate(zip(rows["class"], rows["fname"])):
            label = int(number.item()) - 1
            if not 0 <= label < len(names):
                raise ValueError(f"{path}: annotation {index} has class {label + 1} of {len(names)}")
            items.append(datum(os.path.join(self.dataset_dir, folder, str(image.item())), label, names[label]))
        return items
