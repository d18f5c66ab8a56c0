"""Checkpoint files, which hold tensors and plain values only and are written completely or not at all."""

import io
import logging
import os
import pickle
import pickletools
import zipfile
from typing import Any

import numpy as np
import torch

from .tools import mkdir_if_missing, written_atomically

logger = logging.getLogger(__name__)

# What upstream Dassl pickles beside the weights: the scheduler that follows the warm-up, with its optimiser.
_UPSTREAM_PICKLES = ("torch.optim.", "collections.defaultdict", "builtins.dict")


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or that belongs to another model, method or optimiser."""


def _to_plain(value: Any, where: str = "checkpoint") -> Any:
    """`value` in plain containers and without NumPy scalars, as `weights_only=True` needs it, with tensors on the CPU:
    upstream Dassl loads a tensor of a GPU to that GPU, which the reader may not have.

    Raises TypeError, naming the place in the checkpoint, for anything but tensors, numbers, strings and containers.
    """
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        whole = value.untyped_storage().nbytes() == value.nbytes
        return value if whole else value.clone()  # a view would be saved with all of its base
    if isinstance(value, np.generic):  # first: a np.float64 is a float
        return value.item()
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    if isinstance(value, dict):
        return {key: _to_plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_to_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    raise TypeError(f"{where} is a {type(value).__name__}; a checkpoint holds tensors and plain values only")


def save_checkpoint(state: dict[str, Any], save_dir: str, model_name: str = "") -> None:
    """Write `state` to `save_dir`, then name its file in the pointer file `checkpoint` there.

    Args:
        state: at least "state_dict", whose keys lose DataParallel's prefix "module.", and "epoch", the number of
            finished epochs; tensors and plain values only.
        model_name: file name; default model.pth.tar-<epoch>.

    Raises OSError, naming the file and its size, if it cannot be written; what was there stays.
    """
    mkdir_if_missing(save_dir)
    weights = {key.removeprefix("module."): tensor for key, tensor in state["state_dict"].items()}
    state = _to_plain({**state, "state_dict": weights})
    fpath = os.path.join(save_dir, model_name or f"model.pth.tar-{state['epoch']}")
    content = io.BytesIO()  # PyTorch's own writer does not report a full disk
    torch.save(state, content)
    _write(fpath, content.getbuffer())
    logger.info("Checkpoint saved to %s", fpath)
    # The pointer comes last: until then, readers find the previous checkpoint.
    _write(os.path.join(save_dir, "checkpoint"), f"{os.path.basename(fpath)}\n".encode())


def _write(fpath: str, content: bytes | memoryview) -> None:
    try:
        with written_atomically(fpath) as file:
            file.write(content)
    except OSError as error:
        raise OSError(f"{fpath} cannot be written ({len(content):,} bytes): {error.strerror or error}") from error


def load_checkpoint(fpath: str) -> dict[str, Any]:
    """Read a checkpoint, with all tensors on the CPU; nothing in the file is executed.

    In a checkpoint of upstream Dassl, which pickles its scheduler, "scheduler" is None.
    Raises FileNotFoundError, or CheckpointError naming the file.
    """
    if not os.path.isfile(fpath):
        raise FileNotFoundError(f'No checkpoint at "{fpath}"')
    _check_sums(fpath)
    try:
        checkpoint = torch.load(fpath, map_location="cpu", weights_only=True)
        if not isinstance(checkpoint, dict):
            raise TypeError(f"it holds a {type(checkpoint).__name__}, not a dict")
        return checkpoint
    except Exception as error:  # a truncated archive raises RuntimeError, a foreign pickle UnpicklingError, ...
        checkpoint = _load_upstream(fpath)
        if checkpoint is None:
            objects = isinstance(error, pickle.UnpicklingError)
            reason = "it holds more than tensors and plain values" if objects else first_line(error)
            raise CheckpointError(f'Cannot read the checkpoint "{fpath}": {reason}') from error
        return checkpoint


def _check_sums(fpath: str) -> None:
    """Raise CheckpointError for a zip archive with a wrong checksum, which PyTorch ignores, and for a TorchScript
    program, which it would load by running it (before 2.6)."""
    with open(fpath, "rb") as file:
        if file.read(4) != b"PK\3\4":
            return  # PyTorch's older format, or no checkpoint
    try:
        with zipfile.ZipFile(fpath) as archive:
            damaged, names = archive.testzip(), archive.namelist()
    except Exception as error:  # for damaged archives, zipfile raises half a dozen types
        raise CheckpointError(f'Cannot read the checkpoint "{fpath}": {first_line(error)}') from error
    if damaged:
        raise CheckpointError(
            f'Cannot read the checkpoint "{fpath}": {damaged} in it is damaged (its checksum differs)'
        )
    if any(name.endswith("/constants.pkl") for name in names):
        raise CheckpointError(f'Cannot read the checkpoint "{fpath}": it holds a TorchScript program')


class _Inert:
    """Replaces a pickled class: accepts any arguments and state, keeps and runs nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _stand_in(name: str) -> Any:
    """The replacement of the global `name`, with this name in the attributes that PyTorch reads."""

    def empty_dict(*args: Any) -> dict:
        return {}  # the unpickler fills exact dicts only

    place = empty_dict if name == "collections.defaultdict" else type("Inert", (_Inert,), {})
    place.__module__, place.__qualname__ = name.rsplit(".", 1)
    place.__name__ = place.__qualname__  # read by PyTorch before 2.6
    return place


def _pickled_globals(fpath: str) -> set[str]:
    """The dotted names of the classes and functions in a checkpoint's pickle, which is not executed."""
    with zipfile.ZipFile(fpath) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        operations = list(pickletools.genops(archive.read(name)))
    return {argument.replace(" ", ".") for opcode, argument, _ in operations if opcode.name == "GLOBAL"}


def _load_upstream(fpath: str) -> dict[str, Any] | None:
    """A checkpoint of upstream Dassl, without its scheduler; None if it holds unknown objects."""
    allowed = list(torch.serialization.get_safe_globals())
    try:
        names = {name.replace("__builtin__.", "builtins.") for name in _pickled_globals(fpath)}
        # The unpickler refuses everything but its own types and these.
        torch.serialization.add_safe_globals([_stand_in(name) for name in names if name.startswith(_UPSTREAM_PICKLES)])
        checkpoint = torch.load(fpath, map_location="cpu", weights_only=True)
        checkpoint = {**checkpoint, "scheduler": None}
        _to_plain(checkpoint)  # raises if anything else is an object
    except Exception:  # the caller already has an error to report
        return None
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(allowed)
    logger.warning("%s was written by upstream Dassl: its scheduler is rebuilt from the epoch", fpath)
    return checkpoint


def pointed_file(fdir: str) -> str | None:
    """Path of the checkpoint that the pointer file in `fdir` names; None without a pointer file."""
    pointer = os.path.join(fdir, "checkpoint")
    if not os.path.isfile(pointer):
        return None
    with open(pointer, encoding="utf-8", errors="replace") as file:
        name = file.readline(1000).strip()
    if not name or os.path.basename(name) != name or "\0" in name:
        raise CheckpointError(f'"{pointer}" does not name a checkpoint file (got {name!r})')
    return os.path.join(fdir, name)


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type's name."""
    return (str(error).splitlines() or [type(error).__name__])[0]
