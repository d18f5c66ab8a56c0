"""The config of a run: Dassl's tree with this project's keys, and what files and settings make of it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

import datasets

from .evaluated import with_config_of
from .legal import check_values
from .recipes import KEY, published
from .same_config import saved_values
from .settings import flatten, merge, merge_file


def default_cfg() -> CfgNode:
    """The defaults of Dassl, of the data sets, of all methods, and of each method under TRAINER.<NAME>."""
    cfg = get_cfg_default()
    datasets.extend_cfg(cfg)
    cfg.RECIPE = "equal"  # or published: by configs/recipes.yaml
    cfg.TRAINER.TEXT_CHUNK = 2048  # prompts encoded at a time, which bounds the memory for any number of classes
    cfg.TRAINER.LABEL = ""  # name of the run in tables; empty: the method's variant
    cfg.TRAIN.KEEP_CHECKPOINTS = 1  # the newest that are kept; 0: all that TRAIN.CHECKPOINT_FREQ writes
    cfg.TRAIN.DROP_LAST = True  # leave an epoch's incomplete last batch out, unless it is the only one
    cfg.TRAIN.WANDB = ""  # project of Weights & Biases for the run's curves; empty: none
    cfg.TRAIN.COMPILE = False  # True: torch.compile of the towers' layers, faster on a GPU after a first slow step
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
        if hasattr(method := TRAINER_REGISTRY.get(name), "defaults"):
            cfg.TRAINER[name.upper()] = CfgNode({"PREC": "amp", **method.defaults})  # PREC: one of PRECISIONS
    return cfg


class ConfigFiles(NamedTuple):
    """Config files, read once for all calls that name them.

    Attributes:
        cfg: the defaults with what the files say.
        keys: those in the files.
        defaults: {key: value} before any was set.
    """

    cfg: CfgNode
    keys: set[str]
    defaults: Mapping[str, Any]


def read_files(*paths: str | os.PathLike) -> ConfigFiles:
    """Config files, of which later ones win; empty names are skipped. Raises ValueError, FileNotFoundError."""
    cfg, keys = default_cfg(), set[str]()
    defaults = flatten(cfg)
    for path in paths:
        keys |= merge_file(cfg, path) if path else set()
    return ConfigFiles(cfg, keys, defaults)


def build_cfg(
    files: ConfigFiles, settings: Mapping[str, Any], tested: str | Path = "", loaded: str | Path = ""
) -> CfgNode:
    """The frozen config of a run. Raises ValueError for an unknown key or an illegal value.

    Args:
        settings: values of keys, which win over those of the files and of the published recipe.
        tested: folder of the run that an evaluation tests, by the run's own config.
        loaded: folder of a finished run that predicts or is exported.
    """
    cfg, run = files.cfg.clone(), tested or loaded
    saved = saved_values(run) if run else {}
    merge(cfg, settings)
    # The config.yaml of a run, which has all keys, has the recipe's values already.
    stated = KEY in settings or "OUTPUT_DIR" not in files.keys
    if cfg.RECIPE == "published" and stated and not run:
        values = published(cfg.TRAINER.NAME, cfg.DATASET.NUM_SHOTS, cfg.DATASET.NAME)
        merge(cfg, {key: value for key, value in values.items() if key not in settings})
    if tested:
        with_config_of(cfg, Path(tested), saved, {*files.keys, *settings}, files.defaults)
    check_values(cfg, files.defaults, saved)
    cfg.freeze()
    return cfg
