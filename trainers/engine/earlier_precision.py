"""The precision of an earlier run: what its files say, and whether a call can go on in it on this device."""

from pathlib import Path

from yacs.config import CfgNode

from softcpt.backbones.precision import AMP, Precision, as_earlier, on_device
from softcpt.files import CHECKPOINT

from .same_config import OtherConfigError, saved_values


def key_of(cfg: CfgNode) -> str:
    return f"TRAINER.{cfg.TRAINER.NAME.upper()}.PREC"


def given_in(cfg: CfgNode) -> str:
    """PREC of a config's method; "" for a trainer without the key."""
    return cfg.TRAINER.get(cfg.TRAINER.NAME.upper(), {}).get("PREC", "")


def as_trained(name: str, gpu: bool) -> str:
    """The precision in a run's config.yaml; an older version's `amp` is what it was on this kind of device."""
    return as_earlier(name, Precision.default_device(gpu))


def with_precision(cfg: CfgNode, name: str) -> CfgNode:
    """A config with another PREC; for "" the same."""
    if not name or name == given_in(cfg):
        return cfg
    cfg = cfg.clone()
    cfg.defrost()
    cfg.TRAINER[cfg.TRAINER.NAME.upper()].PREC = name
    cfg.freeze()
    return cfg


def to_go_on(cfg: CfgNode) -> str:
    """What `amp` is in the run that a call goes on with; "" without one, or if the call names the type.

    Raises OtherConfigError if it is another type on this device.
    """
    folder, key = Path(cfg.RESUME or cfg.OUTPUT_DIR), key_of(cfg)
    saved = saved_values(folder).get(key) if given_in(cfg) == AMP and (folder / CHECKPOINT).is_file() else None
    if saved is None:
        return ""
    there, here = as_trained(saved, cfg.USE_CUDA), on_device(AMP, Precision.default_device(cfg.USE_CUDA))
    if there != here and saved != AMP:
        raise OtherConfigError(
            f"{folder} holds a run in {there}, and on this device {key} {AMP} is {here}: add {key} {there} to go on "
            "with it, or choose another --output-dir"
        )
    return there
