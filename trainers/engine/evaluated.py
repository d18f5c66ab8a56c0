"""The config of an evaluation: that of the run whose prompts it tests."""

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from .earlier_precision import as_trained, key_of
from .same_config import agreeing, keys_read, plain, value_then
from .settings import TASKS, flatten, merge

# What an evaluation may choose: the data, how they are read, and what is reported. The rest it takes from the run.
CHOSEN: tuple[str, ...] = ("DATASET.", "TEST.", "DATALOADER.TEST.", "DATALOADER.NUM_WORKERS", "FEATURES.", "TRAIN.")
CHOSEN += ("TRAINER.LABEL", "TRAINER.TEXT_CHUNK", "MODEL.INIT_WEIGHTS", "MODEL.HEAD.")
CHOSEN += ("OUTPUT_DIR", "RESUME", "SEED", "USE_CUDA", "VERBOSE")
UNTESTED = ("RECIPE", "OPTIM.", "DATALOADER.TRAIN_X.", "INPUT.RRCROP_SCALE")  # change no number of a test


def with_config_of(
    cfg: CfgNode, run: Path, saved: Mapping[str, Any], given: Collection[str], defaults: Mapping[str, Any]
) -> None:
    """Give the config of an evaluation the values of the run that it loads, its number of shots and, unless given, its
    seed, and the run's data set if none is named.

    Args:
        saved: the run's config. A run without config.yaml, such as CoOp's, changes nothing.
        given: the keys in files and flags of the call. Their values must be the run's if a test depends on them.
        defaults: of all keys, for what the run's version did not have.

    Raises ValueError that names the keys and both values.
    """
    if not saved:
        return
    name = value_then("TRAINER.NAME", saved, defaults)
    if "TRAINER.NAME" in given and cfg.TRAINER.NAME != name:
        raise contradiction(run, [f"TRAINER.NAME ({saved.get('TRAINER.NAME')!r} there, {cfg.TRAINER.NAME!r} here)"])
    shots = saved.get("DATASET.NUM_SHOTS", cfg.DATASET.NUM_SHOTS)
    if "DATASET.NUM_SHOTS" in given and shots != cfg.DATASET.NUM_SHOTS:
        print(f"DATASET.NUM_SHOTS is {shots}, as in the evaluated run, {run}", file=sys.stderr)
    chosen = {"DATASET.NUM_SHOTS"} | ({"SEED"} - {*given})
    if not cfg.DATASET.NAME:
        chosen |= {key for key in flatten(cfg) if key.startswith("DATASET.")} - {*given, "DATASET.TRAIN_ON_ALL"}
    merge_saved(cfg, run, {key: saved[key] for key in chosen if key in saved} | {"TRAINER.NAME": name})
    values, there, found = flatten(cfg), {}, []
    read = keys_read(values)
    for key, here in values.items():
        then = value_then(key, saved, defaults)
        then = as_trained(then, cfg.USE_CUDA) if key == key_of(cfg) else then
        if plain(here) == then or key.startswith(CHOSEN) or key not in read:
            continue
        if key not in given or key.startswith(UNTESTED) or agreeing(key, then, here):
            there[key] = then
        elif key != "MODEL.BACKBONE.NAME" or not may_be_same_file(here, then):
            found.append(f"{key} ({then!r} there, {plain(here)!r} here)")
    if found:
        raise contradiction(run, found)
    merge_saved(cfg, run, there)


def contradiction(run: Path, found: Sequence[str]) -> ValueError:
    return ValueError(
        f"--model-dir: {run} is tested with its own config, which the given one contradicts: {', '.join(found)}. "
        "Leave these keys, or the --config-file, out"
    )


def merge_saved(cfg: CfgNode, run: Path, values: Mapping[str, Any]) -> None:
    """Set keys to values of a run's config.yaml, whose texts stay texts. Raises ValueError, naming the file."""
    texts = {key: repr(value) for key, value in values.items() if isinstance(value, str) and key != TASKS}
    try:
        merge(cfg, {**values, **texts})
    except ValueError as error:
        raise ValueError(f"{run / 'config.yaml'}: {error}") from error


def may_be_same_file(here: str, there: str) -> bool:
    """Whether two names of a CLIP are paths of one file, as far as this folder can tell."""
    if Path(here).name != Path(there).name or not Path(here).suffix:
        return False
    files = [name.partition("@")[0] for name in (here, there)]
    return not all(map(os.path.exists, files)) or os.path.samefile(*files)
