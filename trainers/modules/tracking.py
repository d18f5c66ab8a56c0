"""Where the curves of a run go: tensorboard, and Weights & Biases if TRAIN.WANDB names a project."""

from __future__ import annotations

import importlib.util
from typing import Any

from dassl.engine import TrainerX
from yacs.config import CfgNode

from . import distributed
from .settings import flatten


def check_tracking(cfg: CfgNode) -> None:
    """Raise ValueError where TRAIN.WANDB names a project and the package wandb is not installed."""
    try:
        missing = importlib.util.find_spec("wandb") is None
    except ValueError:  # a module that is imported, without a specification
        missing = False
    if cfg.TRAIN.WANDB and missing:
        raise ValueError(
            f"TRAIN.WANDB: {cfg.TRAIN.WANDB!r}, but the package wandb is not installed: pip install wandb, or leave "
            "the key empty"
        )


class WandbRun:
    """A run in a project of Weights & Biases, with the run's config.

    A step is a batch of training: what is measured between two batches, as the accuracy of a test, has the last one's.
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


class Curves(TrainerX):
    """Dassl's trainer, whose scalars are written once where several processes train."""

    def __init__(self, cfg: CfgNode) -> None:
        self._tracker: WandbRun | None = None
        super().__init__(cfg)

    def init_writer(self, log_dir: str) -> None:
        if distributed.rank() == 0:
            super().init_writer(log_dir)
            self._tracker = WandbRun(self.cfg) if self.cfg.TRAIN.WANDB else None

    def write_scalar(self, tag: str, scalar_value: float, global_step: int | None = None) -> None:
        super().write_scalar(tag, scalar_value, global_step)
        if self._tracker is not None:
            self._tracker.add_scalar(tag, scalar_value, global_step)

    def close_writer(self) -> None:
        super().close_writer()
        if self._tracker is not None:
            self._tracker.close()
            self._tracker = None
