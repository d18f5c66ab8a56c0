"""UCF101: the middle frame of each video."""

import os
import re

from dassl.data.datasets import DATASET_REGISTRY

from .base import SplitDataset
from .raw import label_of, number_of, read_rows
from .splits import Items, datum, split_train_val


@DATASET_REGISTRY.register()
class UCF101(SplitDataset):
    """K. Soomro, A. R. Zamir, M. Shah, "UCF101", arXiv 1212.0402: the first of the official partitions."""

    dataset_dir = "ucf101"
    image_dir = "UCF-101-midframes"
    files = (
        "UCF-101-midframes/*/*.jpg",
        *(f"ucfTrainTestlist/{name}.txt" for name in ("classInd", "trainlist01", "testlist01")),
    )
    task_name = "human action recognition"
    template = "a photo of a person doing {}."
    n_classes = 101
    n_images = (7639, 1898, 3783)

    def read_raw(self) -> tuple[Items, Items, Items]:
        path = os.path.join(self.dataset_dir, "ucfTrainTestlist", "classInd.txt")
        labels = {name: number_of(number, path, line) for line, (number, name) in read_rows(path, ("number", "class"))}
        train, val = split_train_val(self.read_list("trainlist01.txt", labels))
        return train, val, self.read_list("testlist01.txt", labels)

    def read_list(self, file: str, labels: dict[str, int]) -> Items:
        path = os.path.join(self.dataset_dir, "ucfTrainTestlist", file)
        items = []
        for line, (video, *_) in read_rows(path, ("video", "class"), optional=1):
            action, _, name = video.partition("/")
            label = label_of(action, labels, path, line)
            folder = "_".join(re.findall("[A-Z][^A-Z]*", action))  # "ApplyLipstick" lies in "Apply_Lipstick"
            image = f"{os.path.splitext(name)[0]}.jpg"
            items.append(datum(os.path.join(self.image_dir, folder, image), label, folder))
        return items
