"""Evaluators by name."""

import logging
from typing import Any

from dassl.utils import Registry, check_availability
from yacs.config import CfgNode

EVALUATOR_REGISTRY = Registry("EVALUATOR")

logger = logging.getLogger(__name__)


def build_evaluator(cfg: CfgNode, **kwargs: Any):
    """The registered evaluator `cfg.TEST.EVALUATOR`; ValueError naming the key when it is unknown."""
    name = cfg.TEST.EVALUATOR
    check_availability(name, EVALUATOR_REGISTRY.registered_names(), key="TEST.EVALUATOR")
    if cfg.VERBOSE:
        logger.info("Loading evaluator: %s", name)
    return EVALUATOR_REGISTRY.get(name)(cfg, **kwargs)
