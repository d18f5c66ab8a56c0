"""How long a run trains: OPTIM.MAX_EPOCH epochs, or OPTIM.MAX_STEPS steps, which give the number of epochs.

A step is a batch. With a number of steps the schedule of the learning rate is that of the epochs they amount to, and
the last epoch may end early.
"""

import itertools
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from yacs.config import CfgNode

logger = logging.getLogger(__name__)


def extend_cfg(cfg: CfgNode) -> None:
    cfg.OPTIM.MAX_STEPS = 0  # n > 0: train for exactly n steps; MAX_EPOCH is then computed from n


def check_budget(cfg: CfgNode) -> None:
    """Raise ValueError unless OPTIM.MAX_STEPS is off or a number of steps."""
    steps = cfg.OPTIM.MAX_STEPS
    if not isinstance(steps, int) or steps < 0:  # yacs takes None for anything
        raise ValueError(f"OPTIM.MAX_STEPS: {steps} is neither a number of steps nor 0, for MAX_EPOCH epochs")


def with_epochs(cfg: CfgNode, batches: int) -> CfgNode:
    """The config, with the OPTIM.MAX_EPOCH that OPTIM.MAX_STEPS gives for epochs of `batches` batches."""
    steps = cfg.OPTIM.MAX_STEPS
    if not steps:
        return cfg
    cfg = cfg.clone()
    cfg.defrost()
    cfg.OPTIM.MAX_EPOCH = -(-steps // batches)
    cfg.freeze()
    logger.info("OPTIM.MAX_STEPS %d: %d epochs of %d batches", steps, cfg.OPTIM.MAX_EPOCH, batches)
    return cfg


def steps_of(cfg: CfgNode, epochs: int, batches: int) -> int:
    """The number of steps in `epochs` epochs of a run."""
    return min(epochs * batches, cfg.OPTIM.MAX_STEPS or epochs * batches)


class FirstBatches:
    """A training loader's first `count` batches. Its length is that of the whole loader, because Dassl counts steps by
    whole epochs."""

    def __init__(self, loader: Any, count: int) -> None:
        self.loader, self.count, self.dataset = loader, count, loader.dataset

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return itertools.islice(iter(self.loader), self.count)


def batches_left(loader: Iterable, max_steps: int, epoch: int) -> Iterable:
    """The loader of epoch `epoch`, which ends early if `max_steps` > 0 are reached in it."""
    left = max_steps - epoch * len(loader)
    return FirstBatches(loader, left) if 0 < left < len(loader) else loader
