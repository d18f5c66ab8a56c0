"""The config of an evaluation: that of the run whose prompts it tests."""

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from .same_config import is_read, plain, saved_values, value_then
from .settings import declared, flatten

# What an evaluation may choose: the data, how they are read, and what is reported. The rest it takes from the run.
CHOSEN = ("DATASET.", "TEST.", "DATALOADER.TEST.", "DATALOADER.NUM_WORKERS", "FEATURES.", "TRAIN.", "TRAINER.LABEL")
CHOSEN += (
    "TRAINER.TEXT_CHUNK",
    "OUTPUT_DIR",
    "RESUME",
    "SEED",
    "USE_CUDA",
    "VERBOSE",
    "MODEL.INIT_WEIGHTS",
    "MODEL.HEAD.",
)
UNTESTED = ("OPTIM.", "DATALOADER.TRAIN_X.", "INPUT.RRCROP_SCALE")  # change no number of a test


def with_config_of(cfg: CfgNode, run: Path, given: Collection[str], defaults: Mapping) -> None:
    """Give the config of an evaluation the values of the run that it loads, and the run's data set if none is named.

    A run without config.yaml, such as CoOp's, changes nothing.

    Args:
        given: the keys in files and flags of the call. Their values must be the run's if a test depends on them.
        defaults: of all keys, for what the run's version did not have.

    Raises ValueError that names the keys and both values.
    """
    saved, known = saved_values(run), flatten(defaults)
    if not saved:
        return
    use_shots_of(cfg, run, saved, given)
    if not cfg.DATASET.NAME:
        for key in (
            key
            for key in flatten(cfg)
            if key.startswith("DATASET.") and key not in {*given, "DATASET.TRAIN_ON_ALL"} and key in saved
        ):
            set_value(cfg, key, saved[key], run)
    if "TRAINER.NAME" in given and cfg.TRAINER.NAME != value_then("TRAINER.NAME", saved, known):
        raise contradiction(run, [f"TRAINER.NAME ({saved.get('TRAINER.NAME')!r} there, {cfg.TRAINER.NAME!r} here)"])
    cfg.TRAINER.NAME = value_then("TRAINER.NAME", saved, known)
    found, values = [], flatten(cfg)
    for key in values:
        here, there = plain(values[key]), value_then(key, saved, known)
        if here == there or key.startswith(CHOSEN) or not is_read(key, values):
            continue
        if key not in given or key.startswith(UNTESTED):
            set_value(cfg, key, there, run)
        elif key != "MODEL.BACKBONE.NAME" or not may_be_same_file(here, there):
            found.append(f"{key} ({there!r} there, {here!r} here)")
    if found:
        raise contradiction(run, found)


def contradiction(run: Path, found: Sequence[str]) -> ValueError:
    return ValueError(
        f"--model-dir: {run} is tested with its own config, which the given one contradicts: {', '.join(found)}. "
        "Leave these keys, or the --config-file, out"
    )


def use_shots_of(cfg: CfgNode, run: Path, saved: Mapping[str, Any], given: Collection[str]) -> None:
    """Give an evaluation the number of shots of the run and, unless it is given, its seed."""
    shots = saved.get("DATASET.NUM_SHOTS", cfg.DATASET.NUM_SHOTS)
    if "DATASET.NUM_SHOTS" in given and shots != cfg.DATASET.NUM_SHOTS:
        print(f"DATASET.NUM_SHOTS is {shots}, as in the evaluated run, {run}", file=sys.stderr)
    cfg.DATASET.NUM_SHOTS = shots
    if "SEED" not in given:
        cfg.SEED = saved.get("SEED", cfg.SEED)


def may_be_same_file(here: str, there: str) -> bool:
    """Whether two names of a CLIP are paths of one file, as far as this folder can tell."""
    if Path(here).name != Path(there).name or not Path(here).suffix:
        return False
    files = [name.partition("@")[0] for name in (here, there)]
    return not all(map(os.path.exists, files)) or os.path.samefile(*files)


def set_value(cfg: CfgNode, key: str, value: Any, run: Path) -> None:
    """Set a key to a value of a run's config.yaml. Raises ValueError for one of another type."""
    *sections, name = key.split(".")
    node = declared(cfg, ".".join(sections)) if sections else cfg
    before = node[name]
    if isinstance(before, tuple) and isinstance(value, list):
        value = tuple(value)
    elif isinstance(before, float) and type(value) is int:
        value = float(value)
    if before is not None and type(value) is not type(before) and {type(value), type(before)} != {list, tuple}:
        raise ValueError(f"{run / 'config.yaml'}: {key} is {value!r}, not a {type(before).__name__}")
    node[name] = value
