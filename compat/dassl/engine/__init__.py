"""The base class of trainers and their registry."""

from typing import Any

from dassl.utils import Registry
from yacs.config import CfgNode

from .trainer import TrainerX

__all__ = ["TRAINER_REGISTRY", "TrainerX", "build_trainer"]

TRAINER_REGISTRY = Registry("TRAINER")


def build_trainer(cfg: CfgNode) -> Any:
    """The registered trainer `cfg.TRAINER.NAME`; ValueError naming the key when it is unknown."""
    return TRAINER_REGISTRY.build("TRAINER.NAME", cfg)
