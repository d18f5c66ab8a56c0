"""Curves of a run in Weights & Biases, if TRAIN.WANDB names a project."""

import importlib.util
from typing import Any

from yacs.config import CfgNode

from .settings import flatten


def check_tracking(cfg: CfgNode) -> None:
    """Raise ValueError if TRAIN.WANDB names a project and the package wandb is not installed."""
    try:
        missing = importlib.util.find_spec("wandb") is None
    except ValueError:  # an imported module without a specification
        missing = False
    if cfg.TRAIN.WANDB and missing:
        raise ValueError(
            f"TRAIN.WANDB: {cfg.TRAIN.WANDB!r}, but the package wandb is not installed: pip install wandb, or leave "
            "the key empty"
        )


class WandbRun:
    """A run in a project of Weights & Biases, with its config.

    Its step is the training step; what is measured in between, as the accuracy of a test, has the last step's number.
    """

    def __init__(self, cfg: CfgNode) -> None:
        import wandb

        self.step = 0
        name = "/".join(part for part in (cfg.DATASET.NAME, cfg.TRAINER.NAME, cfg.TRAINER.LABEL) if part)
        self.run = wandb.init(project=cfg.TRAIN.WANDB, name=name, dir=cfg.OUTPUT_DIR, config=flatten(cfg))

    def add_scalar(self, tag: str, value: Any, step: int | None) -> None:
        if tag.startswith("train/") and step is not None:
            self.step = step
        self.run.log({tag: float(value)}, step=self.step)

    def close(self) -> None:
        self.run.finish()
