"""Methods, registered in Dassl's TRAINER_REGISTRY by being imported here."""

from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

from . import (  # noqa: F401
    clip_lora,
    cocoop,
    coop,
    kgcoop,
    linear_probe,
    lp_plus_plus,
    maple,
    plot,
    prograd,
    prolip,
    promptsrc,
    protonet,
    softcpt,
    taskres,
    tip_adapter,
    zeroshot,
)
from .base import PromptTrainer
from .modules import budget, preprocessing


def extend_cfg(cfg: CfgNode) -> None:
    """Add the keys of this package: those that all methods share, and TRAINER.<NAME> with each method's defaults."""
    cfg.TRAINER.TEXT_CHUNK = 2048  # prompts encoded at a time; bounds memory whatever the number of classes
    cfg.TRAINER.LABEL = ""  # what tables call this run; empty for the method's own variant
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
