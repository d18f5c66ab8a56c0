"""Oxford-IIIT Pets."""

import os

from dassl.data.datasets import DATASET_REGISTRY

from .base import SplitDataset
from .raw import number_of, read_rows
from .splits import Items, datum, split_train_val


@DATASET_REGISTRY.register()
class OxfordPets(SplitDataset):
    """O. Parkhi, A. Vedaldi, A. Zisserman, C. V. Jawahar, "Cats and Dogs", 2012: 37 breeds, official test images."""

    dataset_dir = "oxford_pets"
    files = ("images/*.jpg", "annotations/trainval.txt", "annotations/test.txt")
    task_name = "pet breed recognition"
    template = "a photo of a {}, a type of pet."
    metric = "mean_per_class"
    n_classes = 37
    n_images = (2944, 736, 3669)

    def read_raw(self) -> tuple[Items, Items, Items]:
        train, val = split_train_val(self.read_list("trainval.txt"))
        return train, val, self.read_list("test.txt")

    def read_list(self, file: str) -> Items:
        path = os.path.join(self.dataset_dir, "annotations", file)
        items = []
        for line, (image, number, *_) in read_rows(path, ("image", "class", "species", "breed")):
            breed = image.rpartition("_")[0].lower()  # "Egyptian_Mau_12" is the breed's 12th picture
            items.append(datum(os.path.join(self.image_dir, f"{image}.jpg"), number_of(number, path, line), breed))
        return items
