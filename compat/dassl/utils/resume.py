"""Restoring models, optimisers, schedulers and random generators from checkpoints, exactly."""

import logging
import os
import random
import reprlib
import warnings
from collections import Counter
from typing import Any

import numpy as np
import torch
from torch import nn

from .checkpoint import CheckpointError, first_line, load_checkpoint, pointed_file, to_plain

__all__ = [
    "checkpoints_of_one_epoch",
    "get_rng_state",
    "load_weights",
    "restore_checkpoint",
    "resume_from_checkpoint",
    "scheduler_state",
    "set_rng_state",
]

logger = logging.getLogger(__name__)

MOST_EPOCHS = 10**6


def restore_checkpoint(
    fpath: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    scheduler: Any = None,
) -> dict[str, Any]:
    """Load `fpath` into the model and, where given, the optimiser and scheduler; return the whole checkpoint."""
    checkpoint = load_checkpoint(fpath)
    for key in ("state_dict", "epoch"):
        if key not in checkpoint:
            raise CheckpointError(f'"{fpath}" has no entry "{key}": not a checkpoint of a trainer')
    if type(checkpoint["epoch"]) is not int or not 0 <= checkpoint["epoch"] <= MOST_EPOCHS:
        raise CheckpointError(f'"{fpath}": epoch is {reprlib.repr(checkpoint["epoch"])}')
    try:
        load_weights(model, checkpoint["state_dict"], fpath)
        if scheduler is not None:
            _restore_scheduler(scheduler, checkpoint, fpath)
        # After the scheduler: replaying one sets learning rates, and the optimiser's saved ones are the true ones.
        if optimizer is not None and checkpoint.get("optimizer") is not None:
            _restore_optimizer(optimizer, checkpoint["optimizer"], fpath)
    except CheckpointError:
        raise
    except Exception as error:  # of state that is none, PyTorch raises half a dozen types
        what = f"{type(error).__name__}: {first_line(error)}"
        raise CheckpointError(f'"{fpath}" is no complete checkpoint ({what[:200]})') from error
    return checkpoint


def load_weights(model: nn.Module, state_dict: dict[str, torch.Tensor], fpath: str) -> None:
    """`model.load_state_dict` whose error names the file, the key and both shapes (CheckpointError)."""
    model = model.module if isinstance(model, nn.DataParallel) else model
    try:
        model.load_state_dict(state_dict)
    except RuntimeError as error:
        expected = model.state_dict()
        for key in [key for key in state_dict if key in expected]:
            saved, own = tuple(state_dict[key].shape), tuple(expected[key].shape)
            if saved != own:
                raise CheckpointError(
                    f'"{fpath}": "{key}" has shape {saved} in the file and {own} in this model; '
                    "was it trained on other classes or with another config?"
                ) from error
        missing, unexpected = sorted(expected.keys() - state_dict.keys()), sorted(state_dict.keys() - expected.keys())
        raise CheckpointError(
            f'"{fpath}" belongs to another method or config: missing keys {missing[:5]}, unexpected keys '
            f"{unexpected[:5]}"
        ) from error


def _restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any], fpath: str) -> None:
    kinds = {"momentum", "betas", "alpha"}  # hyper-parameters that tell SGD, Adam's family and RMSprop apart
    for saved, own in zip(state["param_groups"], optimizer.param_groups, strict=False):
        if kinds & saved.keys() != kinds & own.keys():
            raise CheckpointError(f'"{fpath}" holds the state of another optimiser than {type(optimizer).__name__}')
    try:
        optimizer.load_state_dict(state)
    except (ValueError, KeyError) as error:
        raise CheckpointError(f'"{fpath}": its optimiser state does not fit: {first_line(error)}') from error


def _restore_scheduler(scheduler: Any, checkpoint: dict[str, Any], fpath: str) -> None:
    state = checkpoint.get("scheduler")
    if state is not None:
        if ("successor" in state) != hasattr(scheduler, "successor"):
            raise CheckpointError(f'"{fpath}" was trained with another OPTIM.WARMUP_EPOCH: one of them has no warm-up')
        scheduler.load_state_dict(state)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the optimiser has not stepped before
        for _ in range(checkpoint["epoch"]):
            scheduler.step()


def resume_from_checkpoint(
    fdir: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    scheduler: Any = None,
) -> int:
    """Restore the newest checkpoint of the folder `fdir`; return the number of epochs that it has finished."""
    fpath = pointed_file(fdir)
    if fpath is None:
        raise FileNotFoundError(f'No pointer file "checkpoint" in "{fdir}"')
    epoch = restore_checkpoint(fpath, model, optimizer, scheduler)["epoch"]
    logger.info("Resumed %s (previous epoch: %d)", fpath, epoch)
    return epoch


def checkpoints_of_one_epoch(directory: str, names: list[str]) -> dict[str, str]:
    """Paths of the newest checkpoints in the folders `names` of `directory`; {} when one has none.

    Where a kill fell between writing two of them, all paths are of the last epoch that is complete. Raises
    CheckpointError when there is none.
    """
    pointed = {name: pointed_file(os.path.join(directory, name)) for name in names}
    if None in pointed.values():
        return {}
    epochs = {name: load_checkpoint(path)["epoch"] for name, path in pointed.items()} if len(names) > 1 else {}
    if len(set(epochs.values())) <= 1:
        return pointed
    older = f"model.pth.tar-{min(epochs.values())}"
    paths = {name: os.path.join(directory, name, older) for name in names}
    if not all(os.path.isfile(path) for path in paths.values()):
        raise CheckpointError(f'The checkpoints in "{directory}" are of different epochs ({epochs}), none in common')
    return paths


def scheduler_state(scheduler: Any) -> dict[str, Any]:
    """The moving part of a scheduler's state; what is no plain value (milestones, functions) comes from the config."""
    return _moving_part(scheduler.state_dict())


def _moving_part(state: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in state.items():
        if type(value) is dict:
            kept[key] = _moving_part(value)
        elif type(value) is not Counter:  # MultiStepLR's milestones must stay the Counter that they are
            try:
                kept[key] = to_plain(value)
            except TypeError:
                continue
    return kept


def get_rng_state() -> dict[str, Any]:
    """States of the generators of Python, NumPy, PyTorch and every GPU, as tensors and plain values."""
    name, keys, *position = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), *position],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Undo `get_rng_state`; the GPUs' part is left out on a machine with another number of GPUs."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, *position = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *position))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
