"""Trainers that are not to train: that of a finished run, and zero-shot CLIP on a data set. Nothing is written."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import train  # first: it provides Dassl

# isort: split
from dassl.engine import build_trainer
from yacs.config import CfgNode

from trainers import PromptTrainer

TASKS_FOLDER = "tasks"  # of a run that trains once per task: a run folder for each


def config_of(run: Path, root: str = "", opts: Sequence[str] = ()) -> CfgNode:
    """A run's config, without what it has of other files: a folder to write to, first weights, cached features."""
    if not (run / "config.yaml").is_file():
        parts = ", ".join(sorted(str(path.parent) for path in (run / TASKS_FOLDER).glob("*/config.yaml")))
        hint = f"; it was trained once per task, so name the folder of one: {parts}" if parts else ""
        raise FileNotFoundError(f"{run} is no run's folder: it has no config.yaml{hint}")
    cfg = train.setup_cfg(train.parse_args(["--config-file", str(run / "config.yaml"), "--root", root, *opts]))
    cfg.defrost()
    cfg.OUTPUT_DIR = cfg.RESUME = cfg.MODEL.INIT_WEIGHTS = ""
    cfg.FEATURES.TEST_CACHE, cfg.FEATURES.TRAIN_VIEWS = False, 0
    cfg.freeze()
    return cfg


def load_run(run: Path, root: str = "", opts: Sequence[str] = ()) -> PromptTrainer:
    """The trainer of a run with what it has learned; `root` is the folder of the data sets, by default the run's.

    Raises FileNotFoundError where there is no run, checkpoint, CLIP or data set; ValueError where they do not fit.
    """
    with contextlib.redirect_stdout(None):  # what Dassl prints
        trainer = build_trainer(config_of(run, root, opts))
    if trainer.prompts.state_dict():  # else the method learns nothing
        trainer.load_model(str(run))
    trainer.set_model_mode("eval")
    return trainer


def zero_shot_trainer(dataset: str, backbone: str, root: str, opts: Mapping[str, object] | None = None):
    """Zero-shot CLIP on all images of a data set, in full precision."""
    flags = ["--root", root, "--trainer", "ZeroshotCLIP", "--backbone", backbone]
    pairs = {"DATASET.NAME": dataset, "DATASET.NUM_SHOTS": -1, "INPUT.TRANSFORMS": ("normalize",)} | dict(opts or {})
    pairs |= {"DATALOADER.NUM_WORKERS": -1, "DATALOADER.TEST.BATCH_SIZE": 100}
    pairs |= {"TRAINER.ZEROSHOTCLIP.PREC": "fp32", "FEATURES.TEST_CACHE": False}
    words = [str(word) for pair in pairs.items() for word in pair]
    with contextlib.redirect_stdout(None):
        return build_trainer(train.setup_cfg(train.parse_args([*flags, *words])))
