"""The configuration tree: defaults and the helper that hides other trainers' keys."""

from yacs.config import CfgNode

from .defaults import DEFAULTS

__all__ = ["clean_cfg", "get_cfg_default"]


def get_cfg_default() -> CfgNode:
    """A fresh, mutable copy of the default tree; entry points extend it and merge files and options into it."""
    return CfgNode(DEFAULTS).clone()


def clean_cfg(cfg: CfgNode, trainer: str) -> None:
    """Remove from `cfg.TRAINER`, in place, the nodes of all trainers but `trainer`, so that a printed tree is short."""
    keep = {"NAME", trainer.upper()}
    for key in [key for key in cfg.TRAINER if key not in keep]:
        del cfg.TRAINER[key]
