"""Which keys of a config a run depends on, and the comparison of two runs by these keys."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

from softcpt.files import CHECKPOINT, read_yaml

from . import budget, preprocessing
from .settings import flatten

RESULTS = "results.json"
FILLED_KEYS = {f"INPUT.{key}" for key in ("SIZE", *preprocessing.KEYS)}  # empty ones take the model's values
# These keys do not change what a run computes, so that it may be continued with other values.
FREE_KEYS = {"DATASET.ROOT", "OUTPUT_DIR", "RESUME", "USE_CUDA", "VERBOSE", "DATALOADER.NUM_WORKERS", "FEATURES.DIR"}
FREE_KEYS |= {"TRAIN.KEEP_CHECKPOINTS", "TRAIN.WANDB", "TRAIN.PRINT_FREQ", "TRAIN.CHECKPOINT_FREQ"}
FREE_KEYS |= {"TEST.PREDICTIONS", "TEST.PER_CLASS_RESULT", "TEST.COMPUTE_CMAT", "MODEL.HEAD.NAME"}
# Keys that an older version did not have: what its runs did, where that is not the default of the key.
OF_OLDER_RUNS: dict[str, object] = {preprocessing.UPRIGHT: False}
# Keys that nothing reads if another key has one of some values: {key: (the other one, its values)}.
UNREAD_WITH = {
    "OPTIM.MOMENTUM": ("OPTIM.NAME", ("adam", "adamw")),
    "OPTIM.SGD_DAMPNING": ("OPTIM.NAME", ("adam", "adamw")),
    "OPTIM.SGD_NESTEROV": ("OPTIM.NAME", ("adam", "adamw")),
    "OPTIM.ADAM_BETA1": ("OPTIM.NAME", ("sgd",)),
    "OPTIM.ADAM_BETA2": ("OPTIM.NAME", ("sgd",)),
    "OPTIM.STEPSIZE": ("OPTIM.LR_SCHEDULER", ("cosine",)),
    "OPTIM.GAMMA": ("OPTIM.LR_SCHEDULER", ("cosine",)),
    "OPTIM.WARMUP_CONS_LR": ("OPTIM.WARMUP_TYPE", ("linear",)),
    "OPTIM.WARMUP_MIN_LR": ("OPTIM.WARMUP_TYPE", ("constant",)),
}
OF_STEPS = ("OPTIM.", "DATALOADER.TRAIN_X.")  # sections of methods that make optimiser steps


def method_of(name: str) -> type | None:
    """The trainer class of a name; None for an unknown one."""
    return TRAINER_REGISTRY.get(name) if name in TRAINER_REGISTRY.registered_names() else None


def dataset_of(name: str) -> type | None:
    """The data set's class of a name; None for an unknown one."""
    return DATASET_REGISTRY.get(name) if name in DATASET_REGISTRY.registered_names() else None


def is_read(key: str, values: Mapping[str, Any]) -> bool:
    """Whether a run with the config `values`, {"A.B": value}, reads a key.

    It does not read the keys of other trainers; without an optimiser, what belongs to one; without training images,
    their number; and what UNREAD_WITH or the method (`ignores`) excludes.
    """
    method = method_of(values["TRAINER.NAME"])
    section, dot, _ = key.removeprefix("TRAINER.").partition(".")
    if key.startswith("TRAINER.") and dot and section != values["TRAINER.NAME"].upper():
        return False
    if not getattr(method, "learns_by_gradient", True) and key.startswith(OF_STEPS):
        return False
    if not getattr(method, "uses_shots", True) and key == "DATASET.NUM_SHOTS":
        return values["TEST.SPLIT"] == "val"  # validation shots are as many
    if key in getattr(method, "ignores", ()):
        return False
    if key == "OPTIM.MAX_EPOCH" and values["OPTIM.MAX_STEPS"]:
        return False  # it follows from the steps
    if key.startswith("OPTIM.WARMUP_") and key != "OPTIM.WARMUP_EPOCH" and values["OPTIM.WARMUP_EPOCH"] < 1:
        return False
    other, excluding = UNREAD_WITH.get(key, ("", ()))
    return not other or values[other] not in excluding


def compared(cfg: CfgNode) -> dict[str, Any]:
    """{key: value} of the keys that a run of this config depends on, with tuples as lists."""
    values = flatten(cfg)
    values[preprocessing.UPRIGHT] = preprocessing.upright_of(cfg.INPUT.UPRIGHT, dataset_of(cfg.DATASET.NAME))
    values["OPTIM.MAX_STEPS"] = budget.max_steps(cfg)
    return {key: plain(value) for key, value in values.items() if key not in FREE_KEYS and is_read(key, values)}


def plain(value: Any) -> Any:
    """A value as YAML has it: tuples are lists."""
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def digest(cfg: CfgNode, defaults: CfgNode) -> str:
    """Hexadecimal digest of the compared keys that differ from `defaults`: equal ones are runs of one config."""
    known = flatten(defaults)
    own = sorted((key, value) for key, value in compared(cfg).items() if value != plain(known.get(key)))
    return hashlib.sha256(repr(own).encode()).hexdigest()[:32]


def saved_values(folder: str | Path) -> dict[str, Any]:
    """{key: value} of a run's config.yaml; {} without one. Raises ValueError if it is damaged."""
    path = Path(folder, "config.yaml")
    saved = read_yaml(path) if path.is_file() else {}
    if not isinstance(saved, dict):
        raise ValueError(f"{path}: expected keys with their values, found {type(saved).__name__}")
    return flatten(saved)


def value_then(key: str, saved: Mapping[str, Any], defaults: Mapping[str, Any]) -> Any:
    """What a run had for a key: the saved value, or if its version did not have the key, what it did."""
    value = saved.get(key)
    return plain(OF_OLDER_RUNS.get(key, defaults.get(key)) if value is None else value)


def differing(cfg: CfgNode, folder: str | Path, defaults: Mapping | None = None) -> list[str]:
    """ "KEY (x there, y here)" for each key in which a config differs from that of the run in a folder; a run without
    config.yaml differs in nothing."""
    saved, known = saved_values(folder), flatten(defaults or {})
    if not saved:
        return []
    here = compared(cfg)
    here = {key: value for key, value in here.items() if value or key not in FILLED_KEYS}
    there = {key: value_then(key, saved, known) for key in here}
    if there["TRAINER.NAME"] != here["TRAINER.NAME"]:  # the others follow
        here = {"TRAINER.NAME": here["TRAINER.NAME"]}
    return [f"{key} ({there[key]!r} there, {here[key]!r} here)" for key in sorted(here) if there[key] != here[key]]


def check_same_config(cfg: CfgNode, folder: Path, defaults: Mapping | None = None) -> None:
    """Raise ValueError if the run folder has a checkpoint or the results of another config.

    `defaults` are for the keys that the run's version did not have.
    """
    if not any((folder / name).is_file() for name in (CHECKPOINT, RESULTS)):
        return
    found = differing(cfg, folder, defaults)
    if found:
        older = [
            f"{key} {value}" for key, value in OF_OLDER_RUNS.items() if any(text.startswith(key) for text in found)
        ]
        began = f"; an older version began it with {', '.join(older)}: add that to go on" if older else ""
        raise ValueError(
            f"{folder} holds a run with another config; choose another --output-dir or remove it. Differing: "
            + ", ".join(found)
            + began
        )
