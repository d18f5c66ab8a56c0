"""A labelled image, and a data set as lists of them."""

import logging
import os
import random
from operator import attrgetter

logger = logging.getLogger(__name__)


class Datum:
    """An image file with its labels.

    Args:
        impath: path of an existing file.
        label: class index.
        domain: domain index.
        classname: name of the class.

    Raises TypeError for a path that is not a string and FileNotFoundError for a missing file.
    """

    # CoOp pickles few-shot draws. With these names of module and attributes, either Dassl reads the other's.
    impath = property(attrgetter("_impath"))
    label = property(attrgetter("_label"))
    domain = property(attrgetter("_domain"))
    classname = property(attrgetter("_classname"))

    def __init__(self, impath: str = "", label: int = 0, domain: int = 0, classname: str = "") -> None:
        if not isinstance(impath, str):
            raise TypeError(f"Datum.impath must be a str, got {type(impath).__name__}: {impath!r}")
        if not os.path.isfile(impath):
            raise FileNotFoundError(f'No image file at "{impath}" (class {classname!r}, label {label})')
        self._impath, self._label, self._domain, self._classname = impath, label, domain, classname

    def __repr__(self) -> str:
        return f"Datum({self._impath!r}, label={self._label}, domain={self._domain}, classname={self._classname!r})"


class DatasetBase:
    """Images for training, validation and testing; the classes are those of the training images.

    Args:
        train_x: training images.
        val: validation images, if any.
        test: test images.

    Attributes:
        num_classes: the largest label plus one.
        lab2cname: label -> class name.
        classnames: class names in the order of their labels.

    Raises ValueError when a class has no training image: its name is unknown, and later names would shift.
    """

    dataset_dir = ""  # folder below cfg.DATASET.ROOT

    train_x = property(attrgetter("_train_x"))
    val = property(attrgetter("_val"))
    test = property(attrgetter("_test"))

    def __init__(
        self, train_x: list[Datum] | None = None, val: list[Datum] | None = None, test: list[Datum] | None = None
    ) -> None:
        if not train_x:
            raise ValueError(f"{type(self).__name__}: train_x is empty")
        self._train_x, self._val, self._test = train_x, val, test
        names = _class_names(train_x)
        self.lab2cname = dict(sorted(names.items()))
        self.classnames = list(self.lab2cname.values())
        self.num_classes = max(names) + 1
        if self.num_classes != len(names):
            # Labels may be huge: look no further than the first few that are missing.
            missing = [label for label in range(min(self.num_classes, len(names) + 10)) if label not in names]
            raise ValueError(
                f"{type(self).__name__}: no training image has the label(s) {missing}; the largest is {max(names)}"
            )

    def generate_fewshot_dataset(self, data_source: list[Datum], num_shots: int = -1) -> list[Datum]:
        """Draw `num_shots` images of each class with the module `random`; below 1, return all images.

        Classes come in the order of their first image. A class with fewer images gives all of them, with a warning.
        """
        if num_shots < 1:
            return data_source
        drawn: list[Datum] = []
        for label, items in self.split_dataset_by_label(data_source).items():
            if len(items) < num_shots:
                name, n = items[0].classname, len(items)
                logger.warning("class %d (%s): %d images for %d shots, all used", label, name, n, num_shots)
                drawn += items
            else:
                drawn += random.sample(items, num_shots)
        logger.info("Drew %d images, %d per class", len(drawn), num_shots)
        return drawn

    def split_dataset_by_label(self, data_source: list[Datum]) -> dict[int, list[Datum]]:
        """The images of each label, in the order of first appearance."""
        groups: dict[int, list[Datum]] = {}
        for item in data_source:
            groups.setdefault(item.label, []).append(item)
        return groups


def _class_names(items: list[Datum]) -> dict[int, str]:
    """{label: class name}. If a label has several names, the first is used, and a warning is logged."""
    names: dict[int, str] = {}
    for item in items:
        first = names.setdefault(item.label, item.classname)
        if first != item.classname:
            logger.warning("label %d is named %r and %r; %r is used", item.label, first, item.classname, first)
    return names
