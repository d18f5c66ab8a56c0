"""How long a run trains: OPTIM.MAX_EPOCH epochs, or OPTIM.MAX_STEPS steps, which give the number of epochs.

A step is a batch. With a number of steps, the learning rate follows the schedule of the epochs that they amount to, and
the last epoch may end early.
"""

import itertools
import logging
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader
from yacs.config import CfgNode

logger = logging.getLogger(__name__)


def max_steps(cfg: CfgNode) -> int:
    """The number of steps of a run; 0 if OPTIM.MAX_EPOCH counts. A method may have STEPS_PER_SHOT among its keys."""
    own = cfg.TRAINER.get(cfg.TRAINER.NAME.upper(), {})
    return cfg.OPTIM.MAX_STEPS or own.get("STEPS_PER_SHOT", 0) * cfg.DATASET.NUM_SHOTS


def with_epochs(cfg: CfgNode, steps: int, batches: int) -> CfgNode:
    """The config with OPTIM.MAX_STEPS `steps`, unless they are 0, and the OPTIM.MAX_EPOCH that follows from them, for
    epochs of `batches` batches. Raises ValueError if the warm-up is longer."""
    if not steps:
        return cfg
    cfg = cfg.clone()
    cfg.defrost()
    cfg.OPTIM.MAX_STEPS = steps
    cfg.OPTIM.MAX_EPOCH = -(-steps // batches)
    cfg.freeze()
    check_warmup(cfg, cfg.OPTIM.MAX_EPOCH)
    logger.info("OPTIM.MAX_STEPS %d: %d epochs of %d batches", steps, cfg.OPTIM.MAX_EPOCH, batches)
    return cfg


def check_warmup(cfg: CfgNode, epochs: int) -> None:
    """Raise ValueError if the warm-up is longer than the run of `epochs` epochs, which then never has its own rate."""
    if cfg.OPTIM.WARMUP_EPOCH > epochs:
        given = f"OPTIM.MAX_STEPS {cfg.OPTIM.MAX_STEPS}" if cfg.OPTIM.MAX_STEPS else "OPTIM.MAX_EPOCH"
        raise ValueError(
            f"OPTIM.WARMUP_EPOCH: {cfg.OPTIM.WARMUP_EPOCH} is more than the {epochs} epochs of the run ({given}), "
            "which would end before its warm-up"
        )


def report_left_out(loader: DataLoader) -> None:
    """Log how many images an epoch of a training loader leaves out, as its last batch would be incomplete."""
    images, left = len(loader.sampler), len(loader.sampler) % loader.batch_size
    if loader.drop_last and left:
        text = (
            "TRAIN.DROP_LAST True: an epoch leaves %d of %d images out (batches of %d), others in each epoch; False "
            "trains on them, too"
        )
        logger.info(text, left, images, loader.batch_size)


def steps_of(cfg: CfgNode, epochs: int, batches: int) -> int:
    """The number of steps in `epochs` epochs of a run."""
    return min(epochs * batches, cfg.OPTIM.MAX_STEPS or epochs * batches)


class FirstBatches:
    """The first `count` batches of a loader. The length is the whole loader's: Dassl counts steps in whole epochs."""

    def __init__(self, loader: Any, count: int) -> None:
        self.loader, self.count, self.dataset = loader, count, loader.dataset

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return itertools.islice(iter(self.loader), self.count)


def batches_left(loader: Any, max_steps: int, epoch: int) -> Any:
    """The loader of epoch `epoch`, which ends early if `max_steps` > 0 are reached in it."""
    left = max_steps - epoch * len(loader)
    return FirstBatches(loader, left) if 0 < left < len(loader) else loader
