"""Optimisers by name."""

import logging
from collections.abc import Iterable
from typing import Any

import torch
from dassl.utils import check_availability
from torch import nn
from yacs.config import CfgNode

AVAI_OPTIMS = ["adam", "amsgrad", "sgd", "rmsprop", "radam", "adamw"]

logger = logging.getLogger(__name__)


def build_optimizer(
    model: nn.Module | Iterable, optim_cfg: CfgNode, param_groups: Iterable | None = None
) -> torch.optim.Optimizer:
    """The optimiser that `optim_cfg.NAME` names.

    Args:
        model: a module (all of its parameters), or parameters or optimiser groups.
        optim_cfg: the node `cfg.OPTIM`.
        param_groups: what to optimise instead of `model`; STAGED_LR is then ignored.

    Raises ValueError, naming the key, for an unknown optimiser or layer.
    """
    name = optim_cfg.NAME
    check_availability(name, AVAI_OPTIMS, key="OPTIM.NAME")
    if param_groups is not None and optim_cfg.STAGED_LR:
        logger.warning("OPTIM.STAGED_LR is ignored because param_groups are given")
    if param_groups is None:
        param_groups = _staged_groups(model, optim_cfg) if optim_cfg.STAGED_LR else model
    if isinstance(param_groups, nn.Module):
        param_groups = param_groups.parameters()

    common: dict[str, Any] = {"lr": optim_cfg.LR, "weight_decay": optim_cfg.WEIGHT_DECAY}
    if name == "sgd":
        return torch.optim.SGD(
            param_groups,
            momentum=optim_cfg.MOMENTUM,
            dampening=optim_cfg.SGD_DAMPNING,
            nesterov=optim_cfg.SGD_NESTEROV,
            **common,
        )
    if name == "rmsprop":
        return torch.optim.RMSprop(param_groups, momentum=optim_cfg.MOMENTUM, alpha=optim_cfg.RMSPROP_ALPHA, **common)
    common["betas"] = (optim_cfg.ADAM_BETA1, optim_cfg.ADAM_BETA2)
    if name == "adamw":
        return torch.optim.AdamW(param_groups, **common)
    if name == "radam":
        # Decoupled: Liu et al.'s own implementation, which upstream ships, decays the weights themselves.
        return torch.optim.RAdam(param_groups, decoupled_weight_decay=True, **common)
    return torch.optim.Adam(param_groups, amsgrad=name == "amsgrad", **common)


def _staged_groups(model: nn.Module, optim_cfg: CfgNode) -> list[dict[str, Any]]:
    """Two groups: the old layers at LR * BASE_LR_MULT, then the children named in NEW_LAYERS at LR."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"OPTIM.STAGED_LR needs an nn.Module to find layers in, got {type(model).__name__}")
    model = model.module if isinstance(model, nn.DataParallel) else model
    new_layers = optim_cfg.NEW_LAYERS
    new_layers = [new_layers] if isinstance(new_layers, str) else list(new_layers)
    children = dict(model.named_children())
    for name in new_layers:
        check_availability(name, children, key="OPTIM.NEW_LAYERS")
    old = [p for name, child in children.items() if name not in new_layers for p in child.parameters()]
    new = [p for name, child in children.items() if name in new_layers for p in child.parameters()]
    return [{"params": old, "lr": optim_cfg.LR * optim_cfg.BASE_LR_MULT}, {"params": new}]
