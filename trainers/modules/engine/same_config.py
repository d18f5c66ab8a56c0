"""The check that a run folder holds a run with the same config, so that it may be resumed."""

from pathlib import Path

import yaml
from yacs.config import CfgNode

from storage import CHECKPOINT, read_yaml

from ..images import preprocessing
from .settings import flatten

FILLED_KEYS = {f"INPUT.{key}" for key in ("SIZE", *preprocessing.KEYS)}  # empty ones take the model's values
# These keys do not change what a run computes, so that it may be continued with other values.
FREE_KEYS = {"DATASET.ROOT", "OUTPUT_DIR", "RESUME", "USE_CUDA", "VERBOSE", "DATALOADER.NUM_WORKERS", "FEATURES.DIR"}
FREE_KEYS |= {"TRAIN.KEEP_CHECKPOINTS", "TRAIN.WANDB", "TEST.PREDICTIONS"}


def check_same_config(cfg: CfgNode, folder: Path) -> None:
    """Raise ValueError if the run folder has a checkpoint of another config, which must not be resumed."""
    saved = folder / "config.yaml"
    if not saved.is_file() or not (folder / CHECKPOINT).is_file():
        return
    old, new = flatten(read_yaml(saved) or {}), flatten(yaml.safe_load(cfg.dump()))
    free = FREE_KEYS | {key for key in FILLED_KEYS if not new.get(key)}
    free |= {key for key in new.keys() - old.keys() if not new[key]}  # off, as in an older version without the key
    free |= {"OPTIM.MAX_EPOCH"} if new["OPTIM.MAX_STEPS"] else set()  # it follows from the steps
    # Nothing reads a key any more that only the older version has, so it is not compared.
    differing = [key for key in sorted(new.keys() - free) if old.get(key) != new[key]]
    differing = [f"{key} ({old.get(key)!r} there, {new[key]!r} here)" for key in differing]
    if differing:
        raise ValueError(
            f"{folder} holds a run with another config; choose another --output-dir or remove it. Differing: "
            + ", ".join(differing)
        )
