"""Methods, registered in Dassl's TRAINER_REGISTRY.

Every module of this folder is imported, so that a new method is a new file and nothing else.
"""

import importlib
import pkgutil

import compat.provide  # noqa: F401  so that Dassl is found without train.py, too

from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

from .base import PromptTrainer
from .modules import budget, preprocessing

for _module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")


def extend_cfg(cfg: CfgNode) -> None:
    """Add the keys of this package: those that all methods share, and TRAINER.<NAME> with each method's defaults."""
    cfg.TRAINER.TEXT_CHUNK = 2048  # prompts encoded at a time; bounds memory whatever the number of classes
    cfg.TRAINER.LABEL = ""  # what tables call this run; empty for the method's own variant
    cfg.TRAIN.KEEP_CHECKPOINTS = 1  # how many are kept, the newest; 0: all that TRAIN.CHECKPOINT_FREQ writes
    cfg.TRAIN.WANDB = ""  # project of Weights & Biases that gets the curves of the run; empty: none
    budget.extend_cfg(cfg)
    preprocessing.extend_cfg(cfg)
    cfg.FEATURES = CfgNode()
    cfg.FEATURES.DIR = ""  # folder of the caches of image features; empty: features/ beside the run folder
    cfg.FEATURES.TEST_CACHE = True  # keep the features of test and validation images, for all methods, shots and seeds
    cfg.FEATURES.TRAIN_VIEWS = 0  # k > 0: train on the features of k fixed augmented views of each image, kept as well
    for name in TRAINER_REGISTRY.registered_names():
        method = TRAINER_REGISTRY.get(name)
        if issubclass(method, PromptTrainer):
            cfg.TRAINER[name.upper()] = CfgNode(method.defaults)
