"""Trainers by name."""

import logging

from dassl.utils import Registry, check_availability
from yacs.config import CfgNode

TRAINER_REGISTRY = Registry("TRAINER")

logger = logging.getLogger(__name__)


def build_trainer(cfg: CfgNode):
    """The registered trainer `cfg.TRAINER.NAME`; ValueError naming the key when it is unknown."""
    name = cfg.TRAINER.NAME
    check_availability(name, TRAINER_REGISTRY.registered_names(), key="TRAINER.NAME")
    if cfg.VERBOSE:
        logger.info("Loading trainer: %s", name)
    return TRAINER_REGISTRY.get(name)(cfg)
