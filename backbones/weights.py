"""Files of weights: find, read, write and hash them, without running code that they may hold."""

import contextlib
import hashlib
import os
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .state_dicts import load_plain, plain_state_dict
from .torchscript import Archive, is_archive

PROJECT_ROOT = Path(__file__).resolve().parents[1]
SUFFIXES = (".pt", ".pth", ".bin", ".npz", ".safetensors")
KEY = "MODEL.BACKBONE.NAME"
WIDEST = 8192  # the most columns of a token embedding that is given by some of its rows


def find_path(name: str) -> Path | None:
    """A file or folder in the current folder, else in the project's; None if there is none. Raises ValueError for a
    pipe or device, which would be waited for."""
    for folder in (Path.cwd(), PROJECT_ROOT):
        path = folder / os.path.expanduser(name)
        if path.exists():
            if not (path.is_file() or path.is_dir()):
                raise ValueError(f"{KEY}: {path} is neither a file nor a folder")
            return path
    return None


def weights_in(folder: Path, names: Sequence[str]) -> Path:
    """The first file of `names` in a folder. Raises FileNotFoundError."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"{KEY}: {folder} has no weights: none of {', '.join(names)}")


def missing(name: str) -> FileNotFoundError:
    return FileNotFoundError(f"{KEY}: no file {name} in {Path.cwd()} or {PROJECT_ROOT}")


def first_line(error: Exception) -> str:
    """The first two lines of an error's message as one; what follows are a library's hints for its own users."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] or type(error).__name__


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def licence_of(folder: Path) -> str:
    """The licence tag at the top of a folder's model card, README.md; "" if there is none."""
    card = folder / "README.md"
    head = card.read_text(encoding="utf-8", errors="replace")[:4000] if card.is_file() else ""
    found = re.match(r"---\s*\n(.*?)\n---", head, re.S)
    licence = re.search(r"^license:\s*(\S+)", found[1], re.M) if found else None
    return licence[1] if licence else ""


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a JIT archive or of a .pt, .npz or .safetensors file, by their names without what training scripts
    put around them (`plain_state_dict`). A safetensors file is mapped, not read.

    Raises ValueError for pickled objects, complex numbers, and a tensor that is larger than the file.
    """
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            state_dict = {key: torch.from_numpy(array) for key, array in arrays.items() if array.dtype.kind in "fiuc"}
    elif path.suffix == ".safetensors":
        state_dict = load_file(path)
    else:
        check_sums(path)
        state_dict = Archive(path).state_dict() if is_archive(path) else load_plain(path)
    state_dict = plain_state_dict(state_dict)
    for key, value in state_dict.items():
        if isinstance(value, Tensor) and value.is_complex():
            raise ValueError(f"{key} holds complex numbers, of which only the real parts would be used")
        if isinstance(value, Tensor) and value.untyped_storage().nbytes() < value.nbytes:
            raise ValueError(f"{key} claims to have {value.numel():,} values, but the file does not hold them")
    return state_dict


def write_safetensors(path: Path, tensors: dict[str, Tensor], facts: dict[str, str]) -> None:
    """Write a safetensors file with metadata, completely or not at all. Raises OSError or SafetensorError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.softcpt-tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, temporary, metadata=facts)
        os.replace(temporary, path)
    except (OSError, SafetensorError):
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def check_sums(path: Path) -> None:
    """Raise ValueError if a PyTorch archive does not match its checksums, which PyTorch does not check."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged:
            raise ValueError(f"{damaged} in it is damaged: its checksum differs")


def restore_token_rows(state_dict: dict[str, Tensor], vocabulary: int = 49408) -> dict[str, Tensor]:
    """The token embedding with the rows `token_rows` (n, D) at `token_ids` (n,), and zeros elsewhere."""
    state_dict = dict(state_dict)
    if "token_rows" in state_dict:
        ids, rows = state_dict.pop("token_ids").long(), state_dict.pop("token_rows").float()
        if rows.shape[1] > WIDEST:
            raise ValueError(f"token_rows are {rows.shape[1]:,} wide, more than {WIDEST:,}")
        weight = torch.zeros(vocabulary, rows.shape[1])
        weight[ids] = rows
        state_dict["token_embedding.weight"] = weight
    return state_dict
