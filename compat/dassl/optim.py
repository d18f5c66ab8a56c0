"""Optimisers and learning rates by name."""

from typing import Any

import torch
from dassl.utils import check_availability
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, StepLR
from yacs.config import CfgNode


def build_optimizer(model: nn.Module, optim_cfg: CfgNode) -> torch.optim.Optimizer:
    """The optimiser that `optim_cfg.NAME` names, over all parameters of `model`.

    Raises ValueError, naming the key, for an unknown optimiser.
    """
    check_availability(optim_cfg.NAME, ("sgd", "adam", "adamw"), key="OPTIM.NAME")
    options: dict[str, Any] = {"lr": optim_cfg.LR, "weight_decay": optim_cfg.WEIGHT_DECAY}
    if optim_cfg.NAME == "sgd":
        options |= {"momentum": optim_cfg.MOMENTUM, "dampening": optim_cfg.SGD_DAMPNING}
        return torch.optim.SGD(model.parameters(), nesterov=optim_cfg.SGD_NESTEROV, **options)
    optimiser = torch.optim.Adam if optim_cfg.NAME == "adam" else torch.optim.AdamW
    return optimiser(model.parameters(), betas=(optim_cfg.ADAM_BETA1, optim_cfg.ADAM_BETA2), **options)


class Warmup(LRScheduler):
    """The learning rates of the warm-up, then those of `successor`, a scheduler of the same optimiser.

    A constant warm-up stays at WARMUP_CONS_LR. A linear one rises on a line from 0 to the base rate, but has
    WARMUP_MIN_LR in epoch 0. The successor starts after it, at its own epoch 0.

    The state holds plain values and is loaded into the live successor. Dassl's own holds the successor itself, so a
    resumed run steps a copy that is bound to a dead optimiser.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, successor: LRScheduler, optim_cfg: CfgNode) -> None:
        self.successor = successor
        self.warmup_epoch = optim_cfg.WARMUP_EPOCH
        self.linear = optim_cfg.WARMUP_TYPE == "linear"
        self.first_lr = optim_cfg.WARMUP_MIN_LR if self.linear else optim_cfg.WARMUP_CONS_LR
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        if self.last_epoch >= self.warmup_epoch:
            return self.successor.get_last_lr()
        if self.linear and self.last_epoch > 0:
            return [base * self.last_epoch / self.warmup_epoch for base in self.base_lrs]
        return [self.first_lr] * len(self.base_lrs)

    def step(self, epoch: int | None = None) -> None:
        if self.last_epoch < self.warmup_epoch:
            super().step(epoch)
            return
        self.successor.step(epoch)
        self._last_lr = self.successor.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"successor": self.successor.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.successor.load_state_dict(state_dict["successor"])
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "successor"})


def build_lr_scheduler(optimizer: torch.optim.Optimizer, optim_cfg: CfgNode) -> LRScheduler:
    """The scheduler that `optim_cfg.LR_SCHEDULER` names, after `optim_cfg.WARMUP_EPOCH` epochs of warm-up.

    It is stepped once per epoch. Raises ValueError, naming the key, for an unknown scheduler or warm-up.
    """
    check_availability(optim_cfg.LR_SCHEDULER, ("single_step", "cosine"), key="OPTIM.LR_SCHEDULER")
    if optim_cfg.LR_SCHEDULER == "cosine":
        schedule: LRScheduler = CosineAnnealingLR(optimizer, float(optim_cfg.MAX_EPOCH))
    else:
        period = optim_cfg.STEPSIZE[-1]
        schedule = StepLR(optimizer, period if period > 0 else optim_cfg.MAX_EPOCH, gamma=optim_cfg.GAMMA)
    if optim_cfg.WARMUP_EPOCH <= 0:
        return schedule
    check_availability(optim_cfg.WARMUP_TYPE, ("constant", "linear"), key="OPTIM.WARMUP_TYPE")
    return Warmup(optimizer, schedule, optim_cfg)
