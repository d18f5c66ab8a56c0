"""From checkpoints back to models, optimisers, schedulers and random generators."""

import logging
import os
import random
import reprlib
import warnings
from typing import Any

import numpy as np
import torch
from torch import nn

from .checkpoint import CheckpointError, first_line, load_checkpoint, pointed_file

logger = logging.getLogger(__name__)

MOST_EPOCHS = 10**6


def restore_checkpoint(
    fpath: str, model: nn.Module, optimizer: torch.optim.Optimizer | None = None, scheduler: Any = None
) -> dict[str, Any]:
    """Load `fpath` into what is given and return the whole checkpoint. Raises as `load_checkpoint` does, and
    CheckpointError for state that does not fit."""
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
        # After the scheduler: replaying that sets learning rates, but those saved with the optimiser are right.
        if optimizer is not None and checkpoint.get("optimizer") is not None:
            _restore_optimizer(optimizer, checkpoint["optimizer"], fpath)
    except CheckpointError:
        raise
    except Exception as error:  # PyTorch raises half a dozen types for what is not a state
        what = f"{type(error).__name__}: {first_line(error)}"
        raise CheckpointError(f'"{fpath}" is no complete checkpoint ({what[:200]})') from error
    return checkpoint


def load_weights(model: nn.Module, state_dict: dict[str, torch.Tensor], fpath: str) -> None:
    """`model.load_state_dict`, but with a CheckpointError that names the file, the key and both shapes."""
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
        missing = sorted(expected.keys() - state_dict.keys())
        unexpected = sorted(state_dict.keys() - expected.keys())
        raise CheckpointError(
            f'"{fpath}" belongs to another method or config: missing keys {missing[:5]}, unexpected keys '
            f"{unexpected[:5]}"
        ) from error


def load_pretrained_weights(model: nn.Module, weight_path: str) -> None:
    """Copy into `model` the tensors of a checkpoint whose names and shapes fit; the others are logged.

    The file holds "state_dict" or is a bare state dict; a prefix "module." is ignored.
    """
    checkpoint = load_checkpoint(weight_path)
    saved = {key.removeprefix("module."): tensor for key, tensor in checkpoint.get("state_dict", checkpoint).items()}
    own = model.state_dict()
    fitting = {key: tensor for key, tensor in saved.items() if key in own and own[key].shape == tensor.shape}
    model.load_state_dict(fitting, strict=False)
    left_out = sorted(saved.keys() - fitting.keys())
    if not fitting:
        logger.warning("No weight of %s fits the model: check the names (%s ...)", weight_path, left_out[:3])
    else:
        logger.info("Loaded %d weights from %s; left out: %s", len(fitting), weight_path, left_out or "none")


def _restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any], fpath: str) -> None:
    kinds = {"momentum", "betas"}  # hyper-parameters that distinguish SGD from Adam
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
            raise CheckpointError(f'"{fpath}" was trained with another OPTIM.WARMUP_EPOCH: only one has a warm-up')
        scheduler.load_state_dict(state)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns that the optimiser has not stepped yet
        for _ in range(checkpoint["epoch"]):
            scheduler.step()


def resume_from_checkpoint(
    fdir: str, model: nn.Module, optimizer: torch.optim.Optimizer | None = None, scheduler: Any = None
) -> int:
    """Restore the newest checkpoint of the folder `fdir`; return its number of finished epochs."""
    fpath = pointed_file(fdir)
    if fpath is None:
        raise FileNotFoundError(f'No pointer file "checkpoint" in "{fdir}"')
    epoch = restore_checkpoint(fpath, model, optimizer, scheduler)["epoch"]
    logger.info("Resumed %s (previous epoch: %d)", fpath, epoch)
    return epoch


def checkpoints_of_one_epoch(directory: str, names: list[str]) -> dict[str, str]:
    """Paths of the newest checkpoints in the folders `names` of `directory`; {} if one of them has none.

    A kill may have come between the saving of two models: then it is the last epoch that all have. Raises
    CheckpointError if there is none.
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


def get_rng_state() -> dict[str, Any]:
    """States of the random generators of Python, NumPy, PyTorch and all GPUs, as tensors and plain values."""
    name, keys, *position = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), *position],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Set the states that `get_rng_state` returned; those of GPUs only if there are as many GPUs as then."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, *position = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *position))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
