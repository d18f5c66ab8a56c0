"""Learning-rate schedulers by name, with an optional warm-up before them."""

from typing import Any

import torch
from dassl.utils import check_availability
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, StepLR
from yacs.config import CfgNode

AVAI_SCHEDS = ["single_step", "multi_step", "cosine"]
AVAI_WARMUPS = ["constant", "linear"]


class _WarmupScheduler(LRScheduler):
    """Own learning rates for `warmup_epoch` epochs, then the base rate for one, then `successor`'s.

    The successor has been built on the same optimiser. Its state is saved as plain values and loaded into the live
    object: upstream pickles the object, and a resumed run then steps a copy bound to a dead optimiser.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, successor: LRScheduler, warmup_epoch: int) -> None:
        self.successor = successor
        self.warmup_epoch = warmup_epoch
        super().__init__(optimizer)

    def warmup_lrs(self) -> list[float]:
        """Learning rates of epoch `self.last_epoch`, one per group, during the warm-up."""
        raise NotImplementedError

    def get_lr(self) -> list[float]:
        if self.last_epoch >= self.warmup_epoch:
            return self.successor.get_last_lr()
        return self.warmup_lrs()

    def step(self, epoch: int | None = None) -> None:
        if self.last_epoch < self.warmup_epoch:
            super().step(epoch)
        else:
            self.successor.step(epoch)
            self._last_lr = self.successor.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "successor": self.successor.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = dict(state_dict)
        self.successor.load_state_dict(state.pop("successor"))
        super().load_state_dict(state)


class ConstantWarmupScheduler(_WarmupScheduler):
    """A warm-up at the constant rate `cons_lr`."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, successor: LRScheduler, warmup_epoch: int, cons_lr: float
    ) -> None:
        self.cons_lr = cons_lr
        super().__init__(optimizer, successor, warmup_epoch)

    def warmup_lrs(self) -> list[float]:
        return [self.cons_lr for _ in self.base_lrs]


class LinearWarmupScheduler(_WarmupScheduler):
    """A warm-up that rises linearly to the base rate; `min_lr` in epoch 0, where the line is at 0."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, successor: LRScheduler, warmup_epoch: int, min_lr: float
    ) -> None:
        self.min_lr = min_lr
        super().__init__(optimizer, successor, warmup_epoch)

    def warmup_lrs(self) -> list[float]:
        if self.last_epoch == 0:
            return [self.min_lr for _ in self.base_lrs]
        return [lr * self.last_epoch / self.warmup_epoch for lr in self.base_lrs]


def build_lr_scheduler(optimizer: torch.optim.Optimizer, optim_cfg: CfgNode) -> LRScheduler:
    """The scheduler that `optim_cfg.LR_SCHEDULER` names, after a warm-up of `optim_cfg.WARMUP_EPOCH` epochs.

    One `step()` per epoch. Raises ValueError, naming the key, for an unknown scheduler or warm-up.
    """
    scheduler = _build_main_scheduler(optimizer, optim_cfg)
    warmup_epoch = optim_cfg.WARMUP_EPOCH
    if warmup_epoch <= 0:
        return scheduler
    check_availability(optim_cfg.WARMUP_TYPE, AVAI_WARMUPS, key="OPTIM.WARMUP_TYPE")
    if not optim_cfg.WARMUP_RECOUNT:
        # The schedule counts the warm-up's epochs, but its recursion still starts from the base rate.
        scheduler.last_epoch = warmup_epoch
    if optim_cfg.WARMUP_TYPE == "constant":
        return ConstantWarmupScheduler(optimizer, scheduler, warmup_epoch, optim_cfg.WARMUP_CONS_LR)
    return LinearWarmupScheduler(optimizer, scheduler, warmup_epoch, optim_cfg.WARMUP_MIN_LR)


def _build_main_scheduler(optimizer: torch.optim.Optimizer, optim_cfg: CfgNode) -> LRScheduler:
    name, stepsize, gamma = optim_cfg.LR_SCHEDULER, optim_cfg.STEPSIZE, optim_cfg.GAMMA
    check_availability(name, AVAI_SCHEDS, key="OPTIM.LR_SCHEDULER")
    if name == "cosine":
        return CosineAnnealingLR(optimizer, float(optim_cfg.MAX_EPOCH))
    if name == "multi_step":
        if not isinstance(stepsize, list | tuple):
            raise TypeError(f"OPTIM.STEPSIZE: multi_step needs a sequence of epochs, got {stepsize!r}")
        return MultiStepLR(optimizer, milestones=list(stepsize), gamma=gamma)
    if isinstance(stepsize, list | tuple):
        stepsize = stepsize[-1] if stepsize else None
    if not isinstance(stepsize, int):
        raise TypeError(f"OPTIM.STEPSIZE: single_step needs an integer, got {optim_cfg.STEPSIZE!r}")
    return StepLR(optimizer, step_size=stepsize if stepsize > 0 else optim_cfg.MAX_EPOCH, gamma=gamma)
