"""Data sets, registered in Dassl's DATASET_REGISTRY; `tools` checks and fetches them. Imports `storage` alone.

Every module of this folder is imported, so adding a data set takes one new file.
"""

import importlib
import pkgutil

import compat.provide  # noqa: F401  so that Dassl is found without train.py, too

from yacs.config import CfgNode

for _module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")


def extend_cfg(cfg: CfgNode) -> None:
    """Add the keys of this package to Dassl's configuration."""
    # Tasks of a multi-task data set: "all", "base" / "new" (first half rounded up / the rest), or names with commas.
    cfg.DATASET.TASKS = "all"
    # Classes of each task: "all", "base" / "new" (first half rounded up / the rest, labels counted from 0 again).
    cfg.DATASET.SUBSAMPLE_CLASSES = "all"
    # Of FolderTasks: a table path,task,class,split below ROOT. Empty: tasks.csv if there is one, else folders.
    cfg.DATASET.CSV = ""
    # Of FolderTasks: True lets the table list pictures by absolute paths, wherever they are.
    cfg.DATASET.ABSOLUTE_PATHS = False
