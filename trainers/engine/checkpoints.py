"""Finds, checks and removes checkpoints of what is learned, which Dassl writes and resumes from."""

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from dassl.utils import load_checkpoint
from torch import Tensor

from softcpt.backbones.state_dicts import plain_state_dict
from softcpt.prompts.owners import OWNERS

# Upstream checkpoints of the CoOp family carry the embeddings of their own class names, under these names.
FROZEN_TOKENS = re.compile(r"(^|\.)token_(prefix|suffix)$")
PREFIXES = ("module.", "_orig_mod.", "model.", "prompt_learner.")  # of DataParallel, torch.compile, and whole models


def find_checkpoint(folder: Path, epoch: int | None = None) -> Path:
    """The checkpoint of an epoch; without an epoch the best one, or else the one that the pointer file names."""
    names = [f"model.pth.tar-{epoch}"] if epoch is not None else ["model-best.pth.tar"]
    pointer = folder / "checkpoint"
    if epoch is None and pointer.is_file():
        names.append(pointed_name(pointer))
    for name in names:
        if (folder / name).is_file():
            return folder / name
    there = sorted(path.name for path in folder.glob("model*")) if folder.is_dir() else []
    more = "; a run keeps more of its epochs with TRAIN.KEEP_CHECKPOINTS" if epoch is not None and there else ""
    raise FileNotFoundError(f"no checkpoint {names[0]} in {folder}; there: {', '.join(there) or 'nothing'}{more}")


def pointed_name(pointer: Path) -> str:
    """The file name in a pointer file. Raises ValueError for anything but the name of a file beside it."""
    name = pointer.read_text(encoding="utf-8", errors="replace").strip()
    if Path(name).name != name or not name or "\0" in name:
        raise ValueError(f"{pointer} names no checkpoint beside it, but {name[:80]!r}")
    return name


def read_learned(
    path: Path, expected: dict[str, Tensor], method: str, any_number: Sequence[str] = ()
) -> dict[str, Tensor]:
    """The learned tensors of a checkpoint, on the CPU.

    Raises ValueError unless they have the names and shapes of `expected`. Those named in `any_number` have a row
    per shot, so their number of rows may differ.
    """
    saved = load_checkpoint(str(path))
    try:
        state = plain_state_dict(saved, PREFIXES)
    except ValueError as error:
        raise ValueError(f"{path} is no checkpoint of this {method}: {error}") from error
    if not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} is no checkpoint of this {method}: it has no 'state_dict' of tensors")
    # An installed Dassl loads them to the GPU that saved them.
    state = {key: value.cpu() for key, value in state.items() if not FROZEN_TOKENS.search(key)}
    # Upstream checkpoints have no owners.
    state = {**{key: value.cpu() for key, value in expected.items() if OWNERS.search(key)}, **state}
    if state.keys() != expected.keys():
        raise ValueError(
            f"{path} is no checkpoint of this {method}: it holds {sorted(state)}, expected are {sorted(expected)}"
        )
    for key, value in state.items():
        first = int(key in any_number)  # the first size that must be equal
        if value.shape[first:] != expected[key].shape[first:]:
            raise ValueError(
                f"{path}: {key} has shape {tuple(value.shape)}, this {method} expects {tuple(expected[key].shape)}; "
                "was it trained with other classes, tasks, N_CTX or another backbone?"
            )
        if OWNERS.search(key) and not torch.equal(value, expected[key].cpu()):
            raise ValueError(
                f"{path} was learned for other classes or tasks: this {method} has parameters for each of them, which "
                "fit no others; train it on these, or use a method or variant that shares its parameters"
            )
    return state


def keep_newest(folder: Path, epoch: int, count: int) -> None:
    """Keep the `count` newest checkpoints up to `epoch` (0: all of these) and remove the others.

    One is enough to resume, and SoftCPT's take 67 MB each on RN50. Those of later epochs are from an earlier run.
    """
    found = {int(path.name.rpartition("-")[2]): path for path in folder.glob("model.pth.tar-*[0-9]")}
    kept = sorted(number for number in found if number <= epoch)[-count:]
    for number, path in found.items():
        if number not in kept:
            path.unlink()
