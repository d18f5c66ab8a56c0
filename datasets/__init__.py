"""Data sets, registered in Dassl's DATASET_REGISTRY. `tools` downloads and checks them.

Every module of this folder is imported, so a new file is all that a new data set takes. Of the other packages they
import `softcpt` alone.
"""

import importlib
import pkgutil

import compat.provide  # noqa: F401  before dassl

from yacs.config import CfgNode

for _module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")


def extend_cfg(cfg: CfgNode) -> None:
    """Add the keys of this package to Dassl's configuration."""
    # Tasks of a multi-task data set: "all", "base" / "new" (first half rounded up / the rest), or names with commas
    # between them; in a file also a list of names. See `multitask.select_specs`.
    cfg.DATASET.TASKS = "all"
    # Classes of each task: "all", "base" / "new" (first half rounded up / the rest, labels counted from 0 again).
    cfg.DATASET.SUBSAMPLE_CLASSES = "all"
    # True: train on the validation and test images, too; there is no test.
    cfg.DATASET.TRAIN_ON_ALL = False
    # For FolderTasks: a table path,task,class,split, relative to ROOT. Empty: tasks.csv if it exists, else folders.
    cfg.DATASET.CSV = ""
    # For FolderTasks: True allows absolute paths in the table.
    cfg.DATASET.ABSOLUTE_PATHS = False
    # True: PlantVillage has the class names and the prompt of the authors' release of SoftCPT.
    cfg.DATASET.RELEASED_NAMES = False
