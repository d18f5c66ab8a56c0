"""Data sets by name."""

import logging

from dassl.utils import Registry, check_availability
from yacs.config import CfgNode

DATASET_REGISTRY = Registry("DATASET")

logger = logging.getLogger(__name__)


def build_dataset(cfg: CfgNode):
    """The registered data set `cfg.DATASET.NAME`; ValueError naming the key when it is unknown."""
    name = cfg.DATASET.NAME
    check_availability(name, DATASET_REGISTRY.registered_names(), key="DATASET.NAME")
    if cfg.VERBOSE:
        logger.info("Loading dataset: %s", name)
    return DATASET_REGISTRY.get(name)(cfg)
