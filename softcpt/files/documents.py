"""Strict readers of JSON and YAML."""

import json
import math
import os
import re
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MOST_DIGITS = 1000  # limit of a number's digits in YAML; Python does not even print 4,300


def line_not_in_utf8(path: str | os.PathLike) -> str:
    """Which line of a text file is not in UTF-8, for a message; "" if all are."""
    for number, line in enumerate(Path(path).read_bytes().split(b"\n"), start=1):
        try:
            line.decode()
        except UnicodeDecodeError:
            return f"line {number} is not in UTF-8: {line[:80]!r}"
    return ""


def read_json(path: str | os.PathLike) -> Any:
    """The content of a JSON file. Raises ValueError, with the file, for what `parse_json` refuses."""
    try:
        return parse_json(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:  # also for bytes that are not text, and endless numbers
        raise ValueError(f"{path}: not a JSON file ({error})") from error


def read_schema(path: str | os.PathLike, schema: int) -> dict[str, Any]:
    """The content of a JSON file whose "schema" is the one that this version reads. Raises ValueError, with the file,
    for any other."""
    record = read_json(path)
    found = record.get("schema") if isinstance(record, dict) else record
    if not isinstance(record, dict) or found != schema:
        raise ValueError(f"{path}: schema is {reprlib.repr(found)}, this version reads schema {schema}")
    return record


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises RecursionError, and ValueError also for what Python accepts: repeated keys of an object, numbers that are not
    finite, and lone surrogates, which cannot be written again.
    """
    text = text.decode() if isinstance(text, bytes) else text
    value = json.loads(text, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite)
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()  # UnicodeEncodeError is a ValueError
    return value


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)[:80]!r} occurs twice")
    return found


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"the number {text[:80]} is not finite")
    return float(text)


def read_yaml(path: str | os.PathLike, as_text: bool = False) -> Any:
    """The content of a YAML file of plain values; None for an empty file.

    With `as_text`, scalars are the texts that were written: yes, 007, 1.10, null and 2020-01-01 are names, too.

    Raises ValueError, with the file, for invalid YAML, a repeated key of a mapping, and references (*name) that expand
    to too many nodes or contain themselves, and so would fill the memory.
    """
    import yaml  # here: not every command needs it

    try:
        loader = yaml.SafeLoader(Path(path).read_text(encoding="utf-8"))
        if as_text:
            merge = [("tag:yaml.org,2002:merge", re.compile("^<<$"))]
            loader.yaml_implicit_resolvers = {"<": merge}  # of this loader; no other text has a meaning
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
    """The number of nodes of a YAML node with its references expanded. Raises ValueError for a repeated key of a
    mapping and for lone surrogates."""
    if id(node) not in sizes:
        if isinstance(node.value, str):
            node.value.encode()  # UnicodeEncodeError is a ValueError
            if node.tag.endswith(":int") and len(node.value) > MOST_DIGITS:
                raise ValueError(f"line {node.start_mark.line + 1}: a number of {len(node.value):,} digits")
        sizes[id(node)] = 1 << 60  # in case it contains itself
        parts = node.value if isinstance(node.value, list) else []
        names = [part[0].value for part in parts if isinstance(part, tuple) and isinstance(part[0].value, str)]
        twice = [name for name in names if names.count(name) > 1] if len(set(names)) < len(names) else []
        if twice:
            raise ValueError(f"line {node.start_mark.line + 1}: the key {twice[0][:80]!r} occurs twice")
        inner = [item for part in parts for item in (part if isinstance(part, tuple) else (part,))]
        sizes[id(node)] = 1 + sum(_size(item, sizes) for item in inner)
    return sizes[id(node)]
