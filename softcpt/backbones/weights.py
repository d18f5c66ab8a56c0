"""Files of weights: find, read, write and hash them, without running code that they may hold."""

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from softcpt.files.atomic import replacing

from .state_dicts import load_plain, plain_state_dict
from .torchscript import Archive, is_archive
from .weight_files import INDEX, KEY, damage, read_shards

PROJECT_ROOT = Path(__file__).resolve().parents[2]  # in a checkout
FOLDERS = (PROJECT_ROOT,) if (PROJECT_ROOT / "train.py").is_file() else ()  # beside the current one
SUFFIXES = (".pt", ".pth", ".bin", ".npz", ".safetensors")
WIDEST = 8192  # the most columns of a token embedding that is given by some of its rows


def find_path(name: str) -> Path | None:
    """A file or folder in the current folder, else in the project's; None if there is none. Raises ValueError for a
    pipe or device, which would be waited for."""
    for folder in (Path.cwd(), *FOLDERS):
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
    folders = " or ".join(dict.fromkeys(map(str, (Path.cwd(), *FOLDERS))))
    return FileNotFoundError(f"{KEY}: no file {name} in {folders}")


def first_line(error: Exception) -> str:
    """The first two lines of an error's message as one; what follows are a library's hints for its own users."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] or type(error).__name__


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a model's folder. Raises ValueError that names the file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{KEY}: {path} cannot be read as JSON ({damage(path) or error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{KEY}: {path} does not hold a JSON object")
    return content


def sha256_of(*paths: Path) -> str:
    """SHA-256 of a file, or of several one after the other, in hexadecimal digits."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def digest_of(tensors: Mapping[str, Tensor], description: str = "") -> str:
    """Hexadecimal digest of tensors, their names, and a description."""
    digest = hashlib.blake2b(description.encode(), digest_size=16)
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def licence_of(folder: Path) -> str:
    """The licence tag at the top of a folder's model card, README.md; "" if there is none."""
    card = folder / "README.md"
    head = card.read_text(encoding="utf-8", errors="replace")[:4000] if card.is_file() else ""
    found = re.match(r"---\s*\n(.*?)\n---", head, re.S)
    licence = re.search(r"^license:\s*(\S+)", found[1], re.M) if found else None
    return licence[1] if licence else ""


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a JIT archive, of a .pt, .npz or .safetensors file, or of the shards of an index, by their names
    without what training scripts put around them (`plain_state_dict`). A safetensors file is mapped, not read.

    Raises ValueError for pickled objects, complex numbers, a tensor that is larger than the file, and a file that is
    not whole.
    """
    saved = read_shards(path, _read_saved) if path.name.endswith(INDEX) else _read_saved(path)
    state_dict = plain_state_dict(saved)
    for key, value in state_dict.items():
        if isinstance(value, Tensor) and value.is_complex():
            raise ValueError(f"{key} holds complex numbers, of which only the real parts would be used")
        if isinstance(value, Tensor) and value.untyped_storage().nbytes() < value.nbytes:
            raise ValueError(f"{key} claims to have {value.numel():,} values, but the file does not hold them")
    return state_dict


def _read_saved(path: Path) -> Any:
    """What one file of weights holds. Raises ValueError that says why a file is not whole."""
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {key: torch.from_numpy(array) for key, array in arrays.items() if array.dtype.kind in "fiuc"}
        if path.suffix == ".safetensors":
            return load_file(path)
        check_sums(path)
        return Archive(path).state_dict() if is_archive(path) else load_plain(path)
    except Exception as error:  # of many kinds
        reason = damage(path)
        if reason:
            raise ValueError(f"{path.name}: {reason}") from error
        raise


def write_safetensors(path: Path, tensors: dict[str, Tensor], facts: dict[str, str]) -> None:
    """Write a safetensors file with metadata, completely or not at all. Raises OSError or SafetensorError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata=facts)


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
