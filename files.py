"""Files: those of a run, configs with bases, JSON and YAML read strictly, and writing that leaves all or nothing."""

import contextlib
import json
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BASE_KEY = "_BASE_"  # of a config file: the file, or list of files, that it starts from, relative to its own folder
FAILURE_FILE = "failure.json"  # of a training whose loss was not finite: the step, its images and its numbers
MOST_DIGITS = 1000  # of a number in YAML; Python does not even print one of 4,300
# results.json comes last. Only runs on folders of one's own keep a split.csv.
RUN_FILES = (
    "config.yaml",
    "log.txt",
    "shots.json",
    "classes.json",
    "split.csv",
    "prompt_learner",
    "tensorboard",
    "predictions.csv.gz",
    FAILURE_FILE,
)


def write_atomically(path: str | os.PathLike, content: str | bytes) -> None:
    """Write a file, text in UTF-8, through a temporary one beside it, of which a failure leaves nothing behind.

    Raises OSError, naming the file and the space that it needs, where it cannot be written; what was there stays.
    """
    path = Path(path)
    content = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        what = f"{path} cannot be written ({len(content):,} bytes): {error.strerror or error}"
        raise type(error)(what) from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(folder: Path) -> None:
    """Remove what killed processes left half-written in a run's folder, which no other process may be at work in."""
    for name in ("*.tmp", ".*.tmp-*"):
        for path in (*folder.glob(name), *folder.glob(f"prompt_learner/{name}")):
            path.unlink(missing_ok=True)


def read_json(path: str | os.PathLike) -> Any:
    """The content of a JSON file; ValueError, naming it, for what `parse_json` refuses."""
    try:
        return parse_json(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:  # ValueError: also bytes that are no text, and endless numbers
        raise ValueError(f"{path}: not a JSON file ({error})") from error


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError also where an object has a key twice, of which Python would keep the
    last, and for numbers that are not finite and halves of characters, which no JSON file can hold; RecursionError."""
    text = text.decode() if isinstance(text, bytes) else text
    value = json.loads(text, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite)
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()  # UnicodeEncodeError is a ValueError
    return value


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)[:80]!r} is there twice")
    return found


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"the number {text[:80]} is not finite")
    return float(text)


def read_yaml(path: str | os.PathLike) -> Any:
    """The content of a YAML file of plain values; None of an empty one.

    Raises ValueError, naming the file, for no YAML, a key that a mapping has twice, and references (*name) that repeat
    parts so often, or within themselves, that they would take all memory.
    """
    import yaml  # here: not every command needs it

    try:
        loader = yaml.SafeLoader(Path(path).read_text(encoding="utf-8"))
        node = loader.get_single_node()
        sizes: dict[int, int] = {}
        if node is not None and _size(node, sizes) > max(10_000, 10 * len(sizes)):
            raise ValueError("its references repeat too much")
        return None if node is None else loader.construct_document(node)
    except FileNotFoundError:
        raise
    except Exception as error:  # PyYAML raises a dozen types for values that do not fit their tags
        raise ValueError(f"{path}: not a YAML file ({str(error) or type(error).__name__})") from error


def _size(node: Any, sizes: dict[int, int]) -> int:
    """The nodes that a YAML node stands for, references written out. Raises ValueError for a key that a mapping has
    twice, and for halves of characters."""
    if id(node) not in sizes:
        if isinstance(node.value, str):
            node.value.encode()  # UnicodeEncodeError is a ValueError
            if node.tag.endswith(":int") and len(node.value) > MOST_DIGITS:
                raise ValueError(f"line {node.start_mark.line + 1}: a number of {len(node.value):,} digits")
        sizes[id(node)] = 1 << 60  # where it is met within itself
        parts = node.value if isinstance(node.value, list) else []
        names = [part[0].value for part in parts if isinstance(part, tuple) and isinstance(part[0].value, str)]
        twice = [name for name in names if names.count(name) > 1] if len(set(names)) < len(names) else []
        if twice:
            raise ValueError(f"line {node.start_mark.line + 1}: the key {twice[0][:80]!r} is there twice")
        inner = [item for part in parts for item in (part if isinstance(part, tuple) else (part,))]
        sizes[id(node)] = 1 + sum(_size(item, sizes) for item in inner)
    return sizes[id(node)]


def make_run_folder(folder: Path) -> list[Path]:
    """Make a run's folder, and return the folders that are new, innermost first. Raises OSError, naming the flag."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(f"--output-dir: the folder {folder} cannot be made ({error.strerror or error})") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"--output-dir: no permission to write into {folder}")
    return new


def remove_run(folder: Path, new_folders: Sequence[Path]) -> None:
    """Remove what a failed run that has nothing to resume left: its files, and the folders made for it, innermost
    first, as long as nothing of others is in them."""
    for name in RUN_FILES:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        for path in new_folders:
            path.rmdir()


def read_config(path: str | os.PathLike, chain: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The content of a YAML config file, merged into that of its bases; of several, later ones win.

    Raises:
        FileNotFoundError: no such file, with those beside it.
        ValueError: no YAML of keys and values, or a file that is its own base, with the way that leads back.
    """
    path = Path(path)
    if not path.is_file():
        near = sorted(file.stem for file in path.parent.glob("*.yaml")) or ["no such folder"]
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
    """A nested dictionary with the values of both, those of the second where both have one."""
    both = {key: _merged(first[key], second[key]) for key in first.keys() & second.keys()
            if isinstance(first[key], dict) and isinstance(second[key], dict)}  # fmt: skip
    return {**first, **second, **both}
