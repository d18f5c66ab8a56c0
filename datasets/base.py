"""Few-shot data sets declared by class attributes.

A data set says where it lies and what it is called; reading its split file, the few-shot draw and the base/new classes
are the same for all of them and done here, as CoOp does them. Constructors read and never write.
"""

import os
import random

from dassl.data.datasets import DatasetBase
from yacs.config import CfgNode

from .paths import check_inside
from .raw import class_folders, folder_items, found
from .splits import (
    Items,
    check_classes,
    check_images,
    check_subsample,
    draw_shots,
    read_split,
    split_train_val_test,
    subsample_classes,
)

MAX_VAL_SHOTS = 4


class SplitDataset(DatasetBase):
    """A data set with train, val and test lists from a split file, or from `read_raw` where there is no split file.

    Subclasses set the class attributes below and, for a raw layout, override `read_raw`. Configuration read:
    `DATASET.ROOT`, `DATASET.NUM_SHOTS` (images per class; below 1: all), `DATASET.SUBSAMPLE_CLASSES`, `SEED`.

    Raises:
        FileNotFoundError: no root, no data-set folder, no split file and no raw files, or images that are missing.
        ValueError: a split or annotation file of another form, a class without training images, two classes with one
            name.
    """

    dataset_dir = ""  # folder below DATASET.ROOT
    image_dir = "images"  # folder below dataset_dir; the split file's paths are relative to it
    split_file = ""  # below dataset_dir; empty: split_zhou_<Class>.json
    files: tuple[str, ...] = ()  # patterns below dataset_dir that the raw layout must have
    task_name = ""  # empty: the class's name as lower-case words
    template = "a photo of a {}."
    metric = "accuracy"  # or "mean_per_class"
    n_classes = 0  # of the complete data set; 0: not known here
    n_images: tuple[int, ...] = ()  # of the complete data set: train, val, test, or their sum alone
    unique_names = True  # False: the published class list has names that occur twice
    test_only = False  # True: one list of images, for evaluation; it also lends its class names to train_x
    val_is_test = False  # True: CoOp validates on the test images
    lists_files = False  # True: read_raw takes what lies in the folders, so that no image can be missing
    how_to_get = ""  # ends the message about missing data

    def __init__(self, cfg: CfgNode):
        tasks = cfg.DATASET.get("TASKS", "all")
        if tasks != "all":
            raise ValueError(f"DATASET.TASKS is {tasks!r}, but {type(self).__name__} is a single task: use 'all'")
        check_subsample(cfg.DATASET.SUBSAMPLE_CLASSES)
        self.set_paths(cfg)
        train, val, test = select_items(self.read(), cfg, type(self).__name__, draw=not self.test_only)
        super().__init__(train_x=train, val=(test if self.val_is_test else val) or None, test=test)

    def set_paths(self, cfg: CfgNode) -> None:
        """Make the folders absolute."""
        self.root = data_root(cfg)
        self.dataset_dir = os.path.join(self.root, self.dataset_dir)
        self.image_dir = os.path.join(self.dataset_dir, self.image_dir) if self.image_dir else self.dataset_dir
        self.split_path = os.path.join(self.dataset_dir, self.split_file or f"split_zhou_{type(self).__name__}.json")

    @classmethod
    def unloaded(cls, cfg: CfgNode) -> "SplitDataset":
        """The data set with its paths set and nothing read: for tools that look at the files themselves."""
        dataset = cls.__new__(cls)
        dataset.set_paths(cfg)
        return dataset

    def read(self, problems: list[str] | None = None) -> tuple[Items, Items, Items]:
        """The checked train, val and test lists, before any draw. `problems` collects what else would be raised of
        lists that can be read."""
        if not os.path.isdir(self.root):
            raise self.missing(f"DATASET.ROOT: no folder {self.root}")
        if not os.path.isdir(self.dataset_dir):
            raise self.missing(f"no folder {self.dataset_dir} (DATASET.ROOT is {self.root})")
        if os.path.exists(self.split_path):
            source, parts = self.split_path, read_split(self.split_path, self.image_dir, problems)
        else:
            absent = self.missing_files()
            if absent:
                raise self.missing(f"in {self.dataset_dir} there is no split file, and of the raw files no {absent[0]}")
            source, parts = self.dataset_dir, self.read_raw()
            if not self.lists_files:
                check_inside((item.impath for part in parts for item in part), self.dataset_dir, source)
                check_images((item.impath for part in parts for item in part), source, problems)
        check_classes(*parts, source=source, unique_names=self.unique_names, problems=problems)
        return parts

    def missing_files(self) -> list[str]:
        """The patterns of `files` of which there is no file."""
        return [pattern for pattern in self.files if not found(self.dataset_dir, pattern)]

    def read_raw(self) -> tuple[Items, Items, Items]:
        """Build train, val and test from the raw layout, in memory and deterministically. Optional in subclasses."""
        raise self.missing(f"no split file {self.split_path}, and no reader for this data set's raw files")

    def missing(self, what: str) -> FileNotFoundError:
        """The error to raise when data are not there: what, the files to expect, and how to get them."""
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


class ClassFolderDataset(SplitDataset):
    """One folder per class: labels in the order of the folders' names; 50/20/30 per class where there is no split file.

    `renamed` maps folders to class names; subclasses override `class_name` for more.
    """

    lists_files = True
    ignored: tuple[str, ...] = ()  # folders that are no classes
    renamed: dict[str, str] = {}
    class_depth = 1  # 2: the classes' folders lie in folders of groups

    def class_name(self, folder: str) -> str:
        return self.renamed.get(folder, folder)

    def read_raw(self) -> tuple[Items, Items, Items]:
        return split_train_val_test(self.items_of(self.image_dir))

    def items_of(self, image_dir: str) -> Items:
        """All images below the class folders of `image_dir`."""
        folders = class_folders(image_dir, self.class_depth, self.ignored)
        if not folders:
            raise self.missing(f"no class folders in {image_dir}")
        return [
            item
            for label, folder in enumerate(folders)
            for item in folder_items(folder, label, self.class_name(os.path.basename(folder)))
        ]


def select_items(
    parts: tuple[Items, Items, Items], cfg: CfgNode, name: str, draw: bool = True
) -> tuple[Items, Items, Items]:
    """The images that a run uses: `DATASET.NUM_SHOTS` per class of train (val: at most 4), of base, new or all classes.

    One generator for both lists, before classes are sub-sampled: the order in which CoOp draws.
    """
    train, val, test = parts
    if draw and cfg.DATASET.NUM_SHOTS >= 1:
        rng = random.Random(cfg.SEED)
        train = draw_shots(train, cfg.DATASET.NUM_SHOTS, rng, f"{name}, train")
        val = draw_shots(val, min(cfg.DATASET.NUM_SHOTS, MAX_VAL_SHOTS), rng, f"{name}, val")
    train, val, test = subsample_classes(train, val, test, which=cfg.DATASET.SUBSAMPLE_CLASSES)
    return train, val, test


def data_root(cfg: CfgNode) -> str:
    """The absolute `DATASET.ROOT`. Raises ValueError if it is empty, NotADirectoryError if it is a file."""
    if not cfg.DATASET.ROOT:
        raise ValueError("DATASET.ROOT is empty: name the folder of the data sets (--root)")
    root = os.path.abspath(os.path.expanduser(cfg.DATASET.ROOT))
    if os.path.isfile(root):
        raise NotADirectoryError(f"DATASET.ROOT: {root} is a file; name the folder of the data sets (--root)")
    return root
