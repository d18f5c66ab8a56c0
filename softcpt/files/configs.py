"""Config files that build on others by the key _BASE_."""

import os
from pathlib import Path
from typing import Any

from .documents import read_yaml

BASE_KEY = "_BASE_"  # one or more files to build on, relative to the folder of the file that names them


def read_config(path: str | os.PathLike, chain: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The content of a YAML config file, merged into that of its bases; a later base wins over an earlier one.

    Raises:
        FileNotFoundError: no such file; the message lists the files beside it.
        ValueError: not YAML of keys and values, or a file that is its own base; the message shows the chain.
    """
    path = Path(path)
    if not path.is_file():
        near = sorted(file.stem for file in path.parent.glob("*.yaml")) or ["no config files"]
        raise FileNotFoundError(f"no config file {path}; in {path.parent}: {', '.join(near)}")
    chain = (*chain, path.resolve())
    if len(set(chain)) < len(chain):
        raise ValueError(f"{path}: {BASE_KEY} leads back to the same file: {' -> '.join(map(str, chain))}")
    content = read_yaml(path)
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected keys with their values, found {type(content).__name__}")
    bases = content.pop(BASE_KEY, [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ValueError(f"{path}: {BASE_KEY} is the name of a file, or a list of names")
    merged: dict[str, Any] = {}
    for base in bases:
        merged = _merged(merged, read_config(path.parent / base, chain))
    return _merged(merged, content)


def _merged(first: dict, second: dict) -> dict:
    """The nested dictionary with the values of both; the second wins where they differ."""
    merged = dict(first)
    for key, value in second.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if nested else value
    return merged
