"""Base classes of data sets, which are declared by class attributes.

A data set declares where its files are and what its task is. Reading split files, drawing shots and selecting base or
new classes are the same for all, and follow CoOp. Constructors read files but never write any.
"""

import contextlib
import os
import random
import sys
from collections.abc import Iterator

from dassl.data.datasets import DATASET_REGISTRY, DatasetBase
from yacs.config import CfgNode

from softcpt.files.texts import nfc

from .paths import check_inside
from .raw import class_folders, class_items, found
from .splits import (
    Items,
    check_classes,
    check_subsample,
    draw_shots,
    locate_images,
    read_split,
    split_train_val_test,
    subsample_classes,
)

MAX_VAL_SHOTS = 4

_read: dict[tuple, tuple[Items, Items, Items]] | None = None  # see `reading_once`


@contextlib.contextmanager
def reading_once(kept: dict) -> Iterator[None]:
    """Keep the lists of data sets in `kept`, for building them with many numbers of shots and seeds."""
    global _read
    before, _read = _read, kept
    try:
        yield
    finally:
        _read = before


class SplitDataset(DatasetBase):
    """A data set with train, val and test lists from a split file, or from `read_raw` if there is none.

    Subclasses set the class attributes below and, for a raw layout, override `read_raw`. Configuration read:
    `DATASET.ROOT`, `DATASET.NUM_SHOTS` (images per class; -1 for all), `DATASET.SUBSAMPLE_CLASSES`, `SEED`.

    Raises:
        FileNotFoundError: no root, no folder of the data set, neither a split file nor raw files, or missing images.
        ValueError: a malformed split or annotation file, a class without training images, two classes with one name.
    """

    dataset_dir = ""  # folder below DATASET.ROOT
    image_dir = "images"  # folder below dataset_dir; the paths in the split file start here
    split_file = ""  # below dataset_dir; "" for split_zhou_<Class>.json
    files: tuple[str, ...] = ()  # patterns of the raw layout's files, below dataset_dir
    task_name = ""  # "" for the class's name as lower-case words
    template = "a photo of a {}."
    metric = "accuracy"  # or "mean_per_class"
    n_classes = 0  # as published; 0 if unknown
    n_images: tuple[int, ...] = ()  # as published: train, val and test, or only their sum
    unique_names = True  # False if the published class list has repeated names
    test_only = False  # True if there are only test images, which are also in train_x for their class names
    val_is_test = False  # True if CoOp validates on the test images
    upright = False  # True if images are turned as their EXIF entries say, which CoOp does not
    lists_files = False  # True if read_raw lists folders, so that no image can be missing
    how_to_get = ""  # end of the message about missing data

    def __init__(self, cfg: CfgNode):
        tasks = cfg.DATASET.get("TASKS", "all")
        if tasks != "all":
            raise ValueError(f"DATASET.TASKS is {tasks!r}, but {type(self).__name__} is a single task: use 'all'")
        check_subsample(cfg.DATASET.SUBSAMPLE_CLASSES)
        self.set_paths(cfg)
        train, val, test = select_items(self.read_once(), cfg, type(self).__name__, draw=not self.test_only)
        super().__init__(train_x=train, val=(test if self.val_is_test else val) or None, test=test)

    def set_paths(self, cfg: CfgNode) -> None:
        """Set the absolute paths of the folders and the split file."""
        self.root = data_root(cfg)
        self.dataset_dir = os.path.join(self.root, self.dataset_dir)
        self.image_dir = os.path.join(self.dataset_dir, self.image_dir) if self.image_dir else self.dataset_dir
        self.split_path = os.path.join(self.dataset_dir, self.split_file or f"split_zhou_{type(self).__name__}.json")

    @classmethod
    def unloaded(cls, cfg: CfgNode) -> "SplitDataset":
        """The data set with its paths but without data, for tools that read the files themselves."""
        dataset = cls.__new__(cls)
        dataset.set_paths(cfg)
        return dataset

    def read_once(self) -> tuple[Items, Items, Items]:
        """`read`, or what it returned before within `reading_once`."""
        if _read is None:
            return self.read()
        key = type(self), self.split_path, self.template  # a data set may have names and a template by the config
        if key not in _read:
            _read[key] = self.read()
        return _read[key]

    def read(self, problems: list[str] | None = None) -> tuple[Items, Items, Items]:
        """The train, val and test lists, checked, before shots are drawn. A list `problems` collects what does not
        prevent reading."""
        error = self.absent()
        if error:
            raise error
        listed = {}
        if os.path.exists(self.split_path):
            source, parts = self.split_path, read_split(self.split_path, self.image_dir, problems)
        else:
            source, parts, listed = self.dataset_dir, self.read_raw(), self.listed_classes()
            if not self.lists_files:
                check_inside((item.impath for part in parts for item in part), self.dataset_dir, source)
                locate_images(parts, source, problems)
        check_classes(*parts, source=source, unique_names=self.unique_names, problems=problems, listed=listed)
        return parts

    def absent(self) -> FileNotFoundError | None:
        """The error if the folders and files to be read are not there."""
        if not os.path.isdir(self.root):
            return self.missing(f"DATASET.ROOT: no folder {self.root}")
        if not os.path.isdir(self.dataset_dir):
            return self.missing(f"no folder {self.dataset_dir} (DATASET.ROOT is {self.root})")
        if not os.path.exists(self.split_path) and (files := self.missing_files()):
            return self.missing(f"in {self.dataset_dir} there is no split file, and of the raw files no {files[0]}")
        return None

    def missing_files(self) -> list[str]:
        """The patterns of `files` that no file matches."""
        return [pattern for pattern in self.files if not found(self.dataset_dir, pattern)]

    def read_raw(self) -> tuple[Items, Items, Items]:
        """The train, val and test lists of the raw layout, always the same. Optional in subclasses."""
        raise self.missing(f"no split file {self.split_path}, and no reader for this data set's raw files")

    def listed_classes(self) -> dict[int, str]:
        """{label: name} of the classes in an annotation file, all of which must have training images. Optional."""
        return {}

    def missing(self, what: str) -> FileNotFoundError:
        """The error for missing data, which says what is missing, which files are expected and how to get them."""
        name = type(self).__name__
        if not self.files:
            return FileNotFoundError(f"{name}: {what}. {self.how_to_get}".rstrip())
        folder = os.path.relpath(self.dataset_dir, self.root)
        split = os.path.join(folder, os.path.basename(self.split_path))
        lines = [f"{name}: {what}.", "  Expected below DATASET.ROOT:"]
        lines += [f"    {os.path.join(folder, pattern)}" for pattern in self.files]
        if not (self.test_only or self.val_is_test):
            lines += [f"    {split}  (optional: a split in CoOp's format)"]
        lines += [f"  Get it: python scripts/data.py download {name} --root {self.root}", "  See docs/datasets.md."]
        return FileNotFoundError("\n".join(lines))


def declare(base: type[SplitDataset], name: str, module: str, doc: str, **attributes: object) -> None:
    """Register a data set from a row of a table: a subclass `name` of `base` with these class attributes.

    The class becomes an attribute of the module named `module`, which holds the table.
    """
    dataset = type(name, (base,), {"__doc__": doc, "__module__": module, **attributes})
    DATASET_REGISTRY.register(dataset)
    setattr(sys.modules[module], name, dataset)


class ClassFolderDataset(SplitDataset):
    """One folder per class. Labels follow the folders' names. Without a split file each class is split 50/20/30.

    `renamed` maps folders to class names; for more, subclasses override `class_name`.
    """

    lists_files = True
    ignored: tuple[str, ...] = ()  # folders that are not classes
    renamed: dict[str, str] = {}
    class_depth = 1  # 2 if the class folders are in folders of groups

    def class_name(self, folder: str) -> str:
        return self.renamed.get(folder, folder)

    def read_raw(self) -> tuple[Items, Items, Items]:
        return split_train_val_test(self.items_of(self.image_dir))

    def items_of(self, image_dir: str) -> Items:
        """All images in the class folders of `image_dir`."""
        folders = class_folders(image_dir, self.class_depth, self.ignored)
        if not folders:
            raise self.missing(f"no class folders in {image_dir}")
        names = [self.class_name(nfc(os.path.basename(folder))) for folder in folders]
        return class_items(zip(folders, range(len(folders)), names))


def select_items(
    parts: tuple[Items, Items, Items], cfg: CfgNode, name: str, draw: bool = True
) -> tuple[Items, Items, Items]:
    """The images of a run: `DATASET.NUM_SHOTS` per class for training, at most 4 per class for validation, of all, base
    or new classes. As in CoOp, one generator draws both lists before classes are selected.
    """
    train, val, test = parts
    if draw and cfg.DATASET.NUM_SHOTS >= 1:
        rng = random.Random(cfg.SEED)
        train = draw_shots(train, cfg.DATASET.NUM_SHOTS, rng, f"{name}, train")
        val = draw_shots(val, min(cfg.DATASET.NUM_SHOTS, MAX_VAL_SHOTS), rng, f"{name}, val")
    train, val, test = subsample_classes(train, val, test, which=cfg.DATASET.SUBSAMPLE_CLASSES, name=name)
    return train, val, test


def data_root(cfg: CfgNode) -> str:
    """The absolute `DATASET.ROOT`. Raises ValueError if it is empty, NotADirectoryError if it is a file."""
    if not cfg.DATASET.ROOT:
        raise ValueError("DATASET.ROOT is empty: name the folder of the data sets (--root)")
    root = os.path.abspath(os.path.expanduser(cfg.DATASET.ROOT))
    if os.path.isfile(root):
        raise NotADirectoryError(f"DATASET.ROOT: {root} is a file; name the folder of the data sets (--root)")
    return root
