"""Few-shot data sets declared by class attributes.

A data set says where it lies and what it is called; reading its split file, the few-shot draw and the base/new classes
are the same for all of them and done here, as CoOp does them. Constructors read and never write.
"""

import os
import random

from dassl.data.datasets import DatasetBase
from yacs.config import CfgNode

from .splits import Items, check_classes, check_images, check_subsample, draw_shots, read_split, subsample_classes

MAX_VAL_SHOTS = 4


class SplitDataset(DatasetBase):
    """A data set with train, val and test lists from a split file, or from `read_raw` where there is no split file.

    Subclasses set the class attributes below and, for a raw layout, override `read_raw`. Configuration read:
    `DATASET.ROOT`, `DATASET.NUM_SHOTS` (images per class; below 1: all), `DATASET.SUBSAMPLE_CLASSES`, `SEED`.

    Raises:
        FileNotFoundError: no root, no data-set folder, no split file and no reader, or images that are missing.
        ValueError: a split file of another form, a class without training images, two classes with one name.
    """

    dataset_dir = ""  # folder below DATASET.ROOT
    image_dir = "images"  # folder below dataset_dir; the split file's paths are relative to it
    split_file = ""  # below dataset_dir; empty: split_zhou_<Class>.json
    task_name = ""  # empty: the class's name as lower-case words
    template = "a photo of a {}."
    metric = "accuracy"  # or "mean_per_class"
    how_to_get = ""  # ends the message about missing data

    def __init__(self, cfg: CfgNode):
        tasks = cfg.DATASET.get("TASKS", "all")
        if tasks != "all":
            raise ValueError(f"DATASET.TASKS is {tasks!r}, but {type(self).__name__} is a single task: use 'all'")
        check_subsample(cfg.DATASET.SUBSAMPLE_CLASSES)
        self.root = data_root(cfg)
        self.dataset_dir = os.path.join(self.root, self.dataset_dir)
        self.image_dir = os.path.join(self.dataset_dir, self.image_dir)
        self.split_path = os.path.join(self.dataset_dir, self.split_file or f"split_zhou_{type(self).__name__}.json")

        train, val, test = self.read()
        if cfg.DATASET.NUM_SHOTS >= 1:
            # One generator for both lists, before classes are sub-sampled: the order in which CoOp draws.
            rng = random.Random(cfg.SEED)
            train = draw_shots(train, cfg.DATASET.NUM_SHOTS, rng, f"{type(self).__name__}, train")
            val = draw_shots(val, min(cfg.DATASET.NUM_SHOTS, MAX_VAL_SHOTS), rng, f"{type(self).__name__}, val")
        train, val, test = subsample_classes(train, val, test, which=cfg.DATASET.SUBSAMPLE_CLASSES)
        super().__init__(train_x=train, val=val, test=test)

    def read(self) -> tuple[Items, Items, Items]:
        """The checked train, val and test lists, before any draw."""
        if not os.path.isdir(self.dataset_dir):
            raise self.missing(f"no folder {self.dataset_dir} (DATASET.ROOT is {self.root})")
        if os.path.exists(self.split_path):
            source, parts = self.split_path, read_split(self.split_path, self.image_dir)
        else:
            source, parts = self.dataset_dir, self.read_raw()
            check_images((item.impath for part in parts for item in part), source)
        check_classes(*parts, source=source)
        return parts

    def read_raw(self) -> tuple[Items, Items, Items]:
        """Build train, val and test from the raw layout, in memory and deterministically. Optional in subclasses."""
        raise self.missing(f"no split file {self.split_path}, and no reader for this data set's raw files")

    def missing(self, what: str) -> FileNotFoundError:
        """The error to raise when data are not there, with the data set's name and how to get it."""
        return FileNotFoundError(f"{type(self).__name__}: {what}. {self.how_to_get}".rstrip())


def data_root(cfg: CfgNode) -> str:
    """The absolute `DATASET.ROOT`. Raises ValueError if it is empty and FileNotFoundError if it is no folder."""
    if not cfg.DATASET.ROOT:
        raise ValueError("DATASET.ROOT is empty: name the folder of the data sets (--root)")
    root = os.path.abspath(os.path.expanduser(cfg.DATASET.ROOT))
    if not os.path.isdir(root):
        raise FileNotFoundError(f"DATASET.ROOT: no folder {root}")
    return root
