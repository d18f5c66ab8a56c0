"""FGVC-Aircraft."""

import os

from dassl.data.datasets import DATASET_REGISTRY

from .base import SplitDataset
from .raw import label_of, read_rows
from .splits import Items, datum


@DATASET_REGISTRY.register()
class FGVCAircraft(SplitDataset):
    """S. Maji et al., "Fine-Grained Visual Classification of Aircraft", arXiv 1306.5151: official parts."""

    dataset_dir = "fgvc_aircraft"
    files = ("images/*.jpg", "variants.txt", *(f"images_variant_{part}.txt" for part in ("train", "val", "test")))
    task_name = "aircraft model recognition"
    template = "a photo of a {}, a type of aircraft."
    metric = "mean_per_class"
    n_classes = 100
    n_images = (3334, 3333, 3333)

    def read_raw(self) -> tuple[Items, Items, Items]:
        variants = os.path.join(self.dataset_dir, "variants.txt")
        labels = {name: label for label, (_, (name,)) in enumerate(read_rows(variants, ("variant",)))}
        train, val, test = (self.read_list(f"images_variant_{part}.txt", labels) for part in ("train", "val", "test"))
        return train, val, test

    def read_list(self, file: str, labels: dict[str, int]) -> Items:
        path = os.path.join(self.dataset_dir, file)
        return [
            datum(os.path.join(self.image_dir, f"{image}.jpg"), label_of(name, labels, path, line), name)
            for line, (image, name) in read_rows(path, ("image", "variant"))
        ]
