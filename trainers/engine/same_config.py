"""Which keys of a config a run depends on, and the comparison of two runs by these keys."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

from softcpt.backbones.precision import agree
from softcpt.evaluation.records import FILE_NAME as RESULTS
from softcpt.files import CHECKPOINT, read_yaml

from . import budget, preprocessing
from .settings import flatten

FILLED_KEYS = {f"INPUT.{key}" for key in ("SIZE", *preprocessing.KEYS)}  # empty ones take the model's values
# These keys do not change what a run computes, so that it may be continued with other values.
FREE_KEYS = {"DATASET.ROOT", "OUTPUT_DIR", "RESUME", "USE_CUDA", "VERBOSE", "DATALOADER.NUM_WORKERS", "FEATURES.DIR"}
FREE_KEYS |= {"RECIPE"}  # its values count, not where they come from
FREE_KEYS |= {"TRAIN.COMPILE"}  # like the device, it changes rounding alone
FREE_KEYS |= {"TRAIN.KEEP_CHECKPOINTS", "TRAIN.WANDB", "TRAIN.PRINT_FREQ", "TRAIN.CHECKPOINT_FREQ"}
FREE_KEYS |= {"TRAINER.TEXT_CHUNK", "DATALOADER.TEST.BATCH_SIZE"}  # what bounds memory, up to rounding
FREE_KEYS |= {"TEST.PREDICTIONS", "TEST.PER_CLASS_RESULT", "TEST.COMPUTE_CMAT", "MODEL.HEAD.NAME"}
# Keys that an older version did not have: what its runs did, where that is not the default of the key.
OF_OLDER_RUNS: dict[str, object] = {preprocessing.UPRIGHT: False}
# Keys that nothing reads if another key has one of some values: (how they begin, the other one, its values).
UNREAD_WITH: tuple[tuple[tuple[str, ...], str, tuple[str, ...]], ...] = (
    (("OPTIM.MOMENTUM", "OPTIM.SGD_"), "OPTIM.NAME", ("adam", "adamw")),
    (("OPTIM.ADAM_",), "OPTIM.NAME", ("sgd",)),
    (("OPTIM.STEPSIZE", "OPTIM.GAMMA"), "OPTIM.LR_SCHEDULER", ("cosine",)),
    (("OPTIM.WARMUP_CONS_LR",), "OPTIM.WARMUP_TYPE", ("linear",)),
    (("OPTIM.WARMUP_MIN_LR",), "OPTIM.WARMUP_TYPE", ("constant",)),
)
OF_STEPS = ("OPTIM.", "DATALOADER.TRAIN_X.", "TRAIN.DROP_LAST")  # sections of methods that make optimiser steps
WARMUP = ("OPTIM.WARMUP_TYPE", "OPTIM.WARMUP_RECOUNT", "OPTIM.WARMUP_CONS_LR", "OPTIM.WARMUP_MIN_LR")


class OtherConfigError(ValueError):
    """A folder holds a run with another config."""


def registered(registry: Any, name: str) -> Any:
    """The class of a name; None for an unknown one."""
    return registry.get(name) if name in registry.registered_names() else None


def keys_read(values: Mapping[str, Any]) -> set[str]:
    """The keys that a run with the config `values`, {"A.B": value}, reads.

    It does not read the keys of other trainers; without an optimiser, what belongs to one; without training images,
    their number; and what UNREAD_WITH or the method (`ignores`) excludes.
    """
    method = registered(TRAINER_REGISTRY, values["TRAINER.NAME"])
    own = f"TRAINER.{values['TRAINER.NAME'].upper()}."
    unread = tuple(start for starts, other, of in UNREAD_WITH if values[other] in of for start in starts)
    unread += () if getattr(method, "learns_by_gradient", True) else OF_STEPS
    unread += WARMUP if values["OPTIM.WARMUP_EPOCH"] < 1 else ()
    names = set(getattr(method, "ignores", ()))
    if not getattr(method, "uses_shots", True) and values["TEST.SPLIT"] != "val":  # validation shots are as many
        names.add("DATASET.NUM_SHOTS")
    if values["OPTIM.MAX_STEPS"]:
        names.add("OPTIM.MAX_EPOCH")  # it follows from the steps
    others = {key for key in values if key.startswith("TRAINER.") and key.count(".") > 1 and not key.startswith(own)}
    return {key for key in values.keys() - names - others if not key.startswith(unread)}


def compared(cfg: CfgNode) -> dict[str, Any]:
    """{key: value} of the keys that a run of this config depends on, with tuples as lists."""
    values, dataset = flatten(cfg), registered(DATASET_REGISTRY, cfg.DATASET.NAME)
    values[preprocessing.UPRIGHT] = preprocessing.upright_of(cfg.INPUT.UPRIGHT, dataset)
    values["OPTIM.MAX_STEPS"] = budget.max_steps(cfg)
    return {key: plain(values[key]) for key in keys_read(values) - FREE_KEYS}


def plain(value: Any) -> Any:
    """A value as YAML has it: tuples are lists."""
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def digest(cfg: CfgNode, defaults: Mapping[str, Any]) -> str:
    """Hexadecimal digest of the compared keys that differ from `defaults`: equal ones are runs of one config."""
    own = sorted((key, value) for key, value in compared(cfg).items() if value != plain(defaults.get(key)))
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


def agreeing(key: str, there: Any, here: Any) -> bool:
    """Whether two values of a key are those of one run: `amp` is `amp-bf16` or `amp-fp16`, as its device has it."""
    return key.startswith("TRAINER.") and key.endswith(".PREC") and agree(str(there), str(here))


def check_same_config(cfg: CfgNode, folder: Path, defaults: Mapping[str, Any]) -> None:
    """Raise OtherConfigError if the folder has a checkpoint or the results of a run with another config.

    `defaults`, {"A.B": value}, are for the keys that the run's version did not have. A run without config.yaml passes.
    """
    saved = saved_values(folder) if any((folder / name).is_file() for name in (CHECKPOINT, RESULTS)) else {}
    here = {key: value for key, value in compared(cfg).items() if value or key not in FILLED_KEYS} if saved else {}
    there = {key: value_then(key, saved, defaults) for key in here}
    found = sorted(key for key in here if there[key] != here[key] and not agreeing(key, there[key], here[key]))
    if "TRAINER.NAME" in found:  # the others follow
        found = ["TRAINER.NAME"]
    if found:
        older = ", ".join(f"{key} {value}" for key, value in OF_OLDER_RUNS.items() if key in found)
        raise OtherConfigError(
            f"{folder} holds a run with another config; choose another --output-dir or remove it. Differing: "
            + ", ".join(f"{key} ({there[key]!r} there, {here[key]!r} here)" for key in found)
            + (f"; an older version began it with {older}: add that to go on" if older else "")
        )
