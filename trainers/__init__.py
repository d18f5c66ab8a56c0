"""The methods, one per file, over `base.py`; `parts` holds the mathematics of single ones. Importing this package
registers each method in Dassl's TRAINER_REGISTRY, so a new method is a new file and nothing else.
"""

import importlib
import pkgutil

import compat.provide  # noqa: F401  so that Dassl is found without train.py, too

from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

from .base import PromptTrainer
from .engine import evaluator  # noqa: F401  registers it

for _module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")


def extend_cfg(cfg: CfgNode) -> None:
    """Add the config keys that all methods share, and each method's `defaults` under TRAINER.<NAME>."""
    cfg.TRAINER.TEXT_CHUNK = 2048  # prompts encoded at a time, which bounds the memory for any number of classes
    cfg.TRAINER.LABEL = ""  # name of the run in tables; empty: the method's variant
    cfg.TRAIN.KEEP_CHECKPOINTS = 1  # the newest that are kept; 0: all that TRAIN.CHECKPOINT_FREQ writes
    cfg.TRAIN.WANDB = ""  # project of Weights & Biases for the run's curves; empty: none
    cfg.OPTIM.MAX_STEPS = 0  # n > 0: train for exactly n steps; OPTIM.MAX_EPOCH is then computed from n
    # The model's preprocessing fills what is empty here.
    cfg.INPUT.SIZE, cfg.INPUT.INTERPOLATION, cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD = (), "", [], []
    cfg.INPUT.RESIZE = ""  # in tests: shortest edge, then the centre is cropped; or squash; or shortest:256
    # Turn images as their EXIF entries say; None: as the data set's class says, True for your own folders, else False.
    cfg.INPUT.UPRIGHT = None
    cfg.INPUT.OVERRIDE_MODEL = False  # True: allow values of INPUT that contradict the model's preprocessing
    cfg.FEATURES = CfgNode()
    cfg.FEATURES.DIR = ""  # folder of cached image features; empty: features/ beside the run folder
    cfg.FEATURES.TEST_CACHE = True  # cache the features of test and validation images for all methods, shots and seeds
    cfg.FEATURES.TRAIN_VIEWS = 0  # k > 0: train on cached features of k fixed augmented views of each image
    cfg.TEST.EVALUATOR = "MultiTaskClassification"  # of engine/evaluator.py
    cfg.TEST.PREDICTIONS = True  # write the prediction of every tested image to predictions.csv.gz
    for name in TRAINER_REGISTRY.registered_names():
        method = TRAINER_REGISTRY.get(name)
        if issubclass(method, PromptTrainer):
            cfg.TRAINER[name.upper()] = CfgNode({"PREC": "amp", **method.defaults})  # fp32, amp, fp16 or bf16
