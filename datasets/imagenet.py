"""ImageNet and four test sets of its classes, in CoOp's layout."""

import logging
import os

from dassl.data.datasets import DATASET_REGISTRY

from softcpt.files.messages import summary
from softcpt.files.texts import nfc

from .base import SplitDataset
from .raw import class_items, list_folder, read_rows
from .splits import Items

logger = logging.getLogger(__name__)


class ImageNetLayout(SplitDataset):
    """Folders named by WordNet ids; `classnames.txt` ("n01440764 tench") gives their names and their order."""

    task_name = "natural image recognition"
    lists_files = True
    n_classes = 1000
    unique_names = False  # "missile" and "sunglasses" occur twice in CLIP's list of names

    def classnames_by_folder(self) -> dict[str, str]:
        path = os.path.join(self.dataset_dir, "classnames.txt")
        return {folder: name for _, (folder, name) in read_rows(path, ("folder", "name"))}

    def read_folders(self, image_dir: str) -> Items:
        """The images of all folders in `image_dir`, labelled from 0 in the order of the folders' names."""
        names = self.classnames_by_folder()
        folders = list_folder(image_dir)[0]
        unknown = [folder for folder in folders if nfc(folder) not in names]
        if unknown:
            raise ValueError(f"{image_dir}: {unknown[0]} is not in {os.path.join(self.dataset_dir, 'classnames.txt')}")
        return class_items((os.path.join(image_dir, f), label, names[nfc(f)]) for label, f in enumerate(folders))


@DATASET_REGISTRY.register()
class ImageNet(ImageNetLayout):
    """J. Deng et al., "ImageNet", 2009 (ILSVRC 2012). As in CoOp, validated and tested on the official val part."""

    dataset_dir = "imagenet"
    files = ("images/train/*/*", "images/val/*/*", "classnames.txt")
    n_images = (1281167, 0, 50000)
    val_is_test = True

    def read_raw(self) -> tuple[Items, Items, Items]:
        parts = {part: os.path.join(self.image_dir, part) for part in ("train", "val")}
        folders = {part: set(list_folder(path)[0]) for part, path in parts.items()}
        if folders["train"] != folders["val"]:
            differing = sorted(folders["train"] ^ folders["val"])
            raise ValueError(f"{self.image_dir}: classes in train only or in val only: {summary(differing)}")
        return self.read_folders(parts["train"]), [], self.read_folders(parts["val"])


class ImageNetTest(ImageNetLayout):
    """Test images only. They are also listed as training images, from which Dassl takes the class names."""

    test_only = True

    def read_raw(self) -> tuple[Items, Items, Items]:
        items = self.read_folders(self.image_dir)
        logger.info("%s has test images only: do not train on it", type(self).__name__)
        return items, [], items


@DATASET_REGISTRY.register()
class ImageNetV2(ImageNetTest):
    """B. Recht et al., "Do ImageNet Classifiers Generalize to ImageNet?", arXiv 1902.10811 (matched frequency)."""

    dataset_dir = "imagenetv2"
    image_dir = "imagenetv2-matched-frequency-format-val"
    files = ("imagenetv2-matched-frequency-format-val/*/*", "classnames.txt")
    n_images = (10000,)

    def read_folders(self, image_dir: str) -> Items:
        """The folders are the line numbers, from 0, of classnames.txt."""
        folders = []
        for label, name in enumerate(self.classnames_by_folder().values()):
            folders.append((os.path.join(image_dir, str(label)), label, name))
            if not os.path.isdir(folders[-1][0]):
                raise self.missing(f"no folder {folders[-1][0]} for the class {name!r}")
        return class_items(folders)


@DATASET_REGISTRY.register()
class ImageNetSketch(ImageNetTest):
    """H. Wang, S. Ge, Z. Lipton, E. Xing, "Learning Robust Global Representations", arXiv 1905.13549."""

    dataset_dir = "imagenet-sketch"
    files = ("images/*/*", "classnames.txt")
    n_images = (50889,)


@DATASET_REGISTRY.register()
class ImageNetA(ImageNetTest):
    """D. Hendrycks et al., "Natural Adversarial Examples", arXiv 1907.07174: 200 classes."""

    dataset_dir = "imagenet-adversarial"
    image_dir = "imagenet-a"
    files = ("imagenet-a/*/*", "classnames.txt")
    n_classes = 200
    n_images = (7500,)


@DATASET_REGISTRY.register()
class ImageNetR(ImageNetTest):
    """D. Hendrycks et al., "The Many Faces of Robustness", arXiv 2006.16241: 200 classes."""

    dataset_dir = "imagenet-rendition"
    image_dir = "imagenet-r"
    files = ("imagenet-r/*/*", "classnames.txt")
    n_classes = 200
    n_images = (30000,)
