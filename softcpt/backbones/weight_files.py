"""Files of weights: the shards that an index names, and why a file cannot be read."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

KEY = "MODEL.BACKBONE.NAME"
INDEX = ".index.json"  # the ending of an index, behind the name that the weights would have in one file
SHARDS = (".safetensors", ".bin")
POINTER = b"version https://git-lfs.github.com/spec/"
PAGES = (b"<!doctype", b"<html", b"<?xml")
LONGEST_HEADER = 100_000_000  # bytes, of a safetensors file
FETCH = "fetch them with git lfs pull in their folder, or with hf download OWNER/MODEL"


def files_of(path: Path) -> list[Path]:
    """The files that hold the weights: those that an index names, in the order of their names, or the file itself.

    Raises ValueError for an index that names anything but files beside it.
    """
    if not path.name.endswith(INDEX):
        return [path]
    try:
        return [path.parent / name for name in sorted(set(_weight_map(path).values()))]
    except ValueError as error:
        raise ValueError(f"{KEY}: {path.parent}: {error}") from error


def _weight_map(path: Path) -> dict[str, str]:
    """{name of a tensor: name of its file} of an index."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} cannot be read as JSON ({damage(path) or error})") from error
    names = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(names, dict) or not names:
        raise ValueError(f"{path.name} has no weight_map with the files of the tensors")
    for name in names.values():
        plain = isinstance(name, str) and Path(name).name == name and "\\" not in name and name.endswith(SHARDS)
        if not plain:
            raise ValueError(f"{path.name} names the file {name!r:.80}; only .safetensors and .bin files beside it are")
        if not (path.parent / name).is_file():
            raise ValueError(f"{path.name} names the file {name}, which is not there; {FETCH}")
    return names


def read_shards(path: Path, read: Callable[[Path], Any]) -> dict[str, Any]:
    """All tensors of an index, whose files `read` reads. Raises ValueError if a file lacks a tensor of the index."""
    names, tensors = _weight_map(path), {}
    for file in sorted(set(names.values())):
        part = read(path.parent / file)
        wanted = [key for key, name in names.items() if name == file]
        missing = [key for key in wanted if not isinstance(part, dict) or key not in part]
        if missing:
            raise ValueError(f"{file} lacks {missing[0]:.100}, which {path.name} says it holds")
        tensors.update({key: part[key] for key in wanted})
    return tensors


def damage(path: Path) -> str:
    """Why a file of weights, or another one of a model, cannot be read; "" if that is not known."""
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            head = file.read(512)
            if path.suffix == ".safetensors" and not head.startswith(POINTER):
                file.seek(8)
                header = file.read(min(int.from_bytes(head[:8], "little"), LONGEST_HEADER))
    except OSError:
        return ""
    if head.startswith(POINTER):
        return f"it is a pointer of Git LFS, not its contents: {FETCH}"
    if not head:
        return "it is empty"
    if head.lstrip().lower().startswith(PAGES):
        return "it is a web page, as a download that failed leaves"
    if path.suffix == ".safetensors":
        expected = _expected_size(head, header)
        return f"it breaks off after {size:,} of {expected:,} bytes; {FETCH}" if expected > size else ""
    if head.startswith(b"PK\3\4"):
        return "" if zipfile.is_zipfile(path) else f"it breaks off after {size:,} bytes; {FETCH}"
    return ""


def _expected_size(head: bytes, header: bytes) -> int:
    """Bytes that a safetensors file with this header has; 0 if it is none."""
    length = int.from_bytes(head[:8], "little")
    if length > LONGEST_HEADER or head[8:9] not in (b"{", b""):
        return 0
    try:
        entries = [entry for name, entry in json.loads(header[:length]).items() if name != "__metadata__"]
        return 8 + length + max(entry["data_offsets"][1] for entry in entries)
    except (ValueError, RecursionError):  # the header itself breaks off
        return 8 + length if len(header) < length else 0
    except (KeyError, TypeError, AttributeError, IndexError):
        return 0


def lfs_pointers(folder: Path) -> str:
    """Which files of a folder are pointers of Git LFS, and how to fetch them; "" if none are."""
    found = [path.name for path in sorted(folder.iterdir()) if path.is_file() and _starts(path, POINTER)]
    return f"pointers of Git LFS, not the contents: {', '.join(found)}; {FETCH}" if found else ""


def _starts(path: Path, head: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(head)) == head
    except OSError:
        return False
