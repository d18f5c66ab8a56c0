"""Settings of a run, from files and commands, merged into Dassl's tree with errors that name the key."""

import ast
import difflib
import os
import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from yacs.config import CfgNode

from softcpt.files import read_config
from softcpt.files.texts import joined_names

TASKS = "DATASET.TASKS"
# Also what is no legal number, so that the rule of the key, and not the type, refuses it.
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf|nan", re.I)

# Keys of Dassl that nothing here reads, with the only value that does what it says.
UNREAD = {
    "OPTIM.STAGED_LR": False,
    "OPTIM.WARMUP_RECOUNT": True,
    "DATALOADER.K_TRANSFORMS": 1,
    "DATALOADER.RETURN_IMG0": False,
}


def merge_file(cfg: CfgNode, path: str | os.PathLike) -> set[str]:
    """Merge a YAML file and its bases, and return its keys. Raises ValueError, naming the file, as `merge` does."""
    try:
        loaded = dict(_leaves(read_config(path)))
        merge(cfg, loaded)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {shortened(error)}") from error
    return set(loaded)


def _leaves(node: dict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The ("A.B", value) of a file. Raises ValueError for a key that is no name."""
    for key, value in node.items():
        if not isinstance(key, str) or "." in key:
            raise ValueError(f"{reprlib.repr(key)} is not the name of a config key{f' in {prefix}' if prefix else ''}")
        name = f"{prefix}.{key}" if prefix else key
        yield from _leaves(value, name) if value and isinstance(value, dict) else [(name, value)]


def merge(cfg: CfgNode, settings: Mapping[str, Any]) -> None:
    """Set keys of a config; texts are read as yacs reads them. Raises ValueError, naming the key, for an unknown key or
    a wrong type."""
    for key, value in settings.items():
        default = declared(cfg, key)
        if value is None and default is not None:
            raise ValueError(f"{key} has no value; its default is {reprlib.repr(default)}")
        if value == "None" and default is not None:
            raise ValueError(f"{key}: None is no value; its default is {reprlib.repr(default)}")
        if value == {} and isinstance(default, CfgNode):
            continue
        check_unread(cfg, key, value)
        value = as_names(value) if key == TASKS else value
        try:
            cfg.merge_from_list([key, as_declared(value, default)])
        except (AssertionError, AttributeError, KeyError, TypeError) as error:
            raise ValueError(unknown_key(cfg, key)) from error
        except (ValueError, OverflowError, RecursionError, MemoryError) as error:  # the last: nested too deep
            raise ValueError(f"{key}: {reprlib.repr(value)} does not fit: {shortened(error)}") from error


def pairs(words: Sequence[str]) -> dict[str, str]:
    """{KEY: VALUE} of the trailing words of a command. Raises ValueError for a key without a value."""
    if len(words) % 2:
        raise ValueError(f"trailing options come in pairs KEY VALUE, got {len(words)}: {' '.join(words)}")
    return dict(zip(words[::2], words[1::2]))


def as_names(value: Any) -> Any:
    """A value of DATASET.TASKS, a text or a list of names, as a literal, so that yacs, which evaluates texts, keeps the
    task "2024" a text. Raises ValueError for a list with other values than texts."""
    if isinstance(value, list | tuple):
        odd = [item for item in value if not isinstance(item, str)]
        if odd or not value:
            raise ValueError(f"{TASKS}: {reprlib.repr(value)} is no list of names; put each name in quotes")
        value = joined_names(value)
    return repr(value) if isinstance(value, str) else value


def shortened(error: BaseException) -> str:
    """An error's message, without the middle of a very long value."""
    text = str(error) or type(error).__name__
    return text if len(text) < 1000 else f"{text[:400]} ... {text[-400:]}"


def check_unread(cfg: CfgNode, key: str, value: object) -> None:
    """Raise ValueError for a value that would change the run in Dassl, of a key that `cfg` ignores."""
    if key in UNREAD and cfg.key_is_deprecated(key) and str(value) != str(UNREAD[key]):
        raise ValueError(f"{key}: {value!r}, but nothing here reads this key of Dassl; leave it out")


def as_declared(value: Any, default: Any) -> Any:
    """`value` as a float, or a sequence of floats, if `default` is one and `value` is a number.

    Integers are numbers, and so is "1e-3", which YAML reads as text. Everything else is left to yacs, which refuses it.
    Raises OverflowError for an integer that is too large for a float.
    """
    if isinstance(default, float):
        if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
            return float(value)
        return float(value) if type(value) is int else value
    if isinstance(default, list | tuple) and default and all(isinstance(item, float) for item in default):
        if isinstance(value, str):
            try:
                value = ast.literal_eval(value)
            except (ValueError, SyntaxError):
                return value
        if isinstance(value, list | tuple):
            return type(value)(as_declared(item, default[0]) for item in value)
    return value


def declared(cfg: CfgNode, key: str) -> Any:
    """The value of a dotted key so far; None if there is no such key."""
    node: Any = cfg
    for part in key.split("."):
        node = node.get(part) if isinstance(node, CfgNode) else None
    return node


def unknown_key(cfg: CfgNode, key: str) -> str:
    """The message for a key that `cfg` lacks, with the nearest one that it has."""
    near = difflib.get_close_matches(key, flatten(cfg), n=1, cutoff=0.5)
    return f"unknown config key {key}" + (f"; did you mean {near[0]}?" if near else "")


def flatten(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"A.B": value} of a nested config."""
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat.update(flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat


def unread_keys(cfg: CfgNode, defaults: Mapping[str, Any]) -> list[str]:
    """The keys with changed values that nothing reads, because they belong to other methods than TRAINER.NAME.
    `defaults` are the flat ones."""
    own = f"TRAINER.{cfg.TRAINER.NAME.upper()}."
    return [
        key
        for key, value in sorted(flatten(cfg).items())
        if key.startswith("TRAINER.") and key.count(".") > 1 and not key.startswith(own) and value != defaults.get(key)
    ]
