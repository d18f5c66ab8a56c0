"""The config of a run: files and KEY VALUE pairs, merged into Dassl's tree with errors that name the key."""

import ast
import difflib
import re
import reprlib
from collections.abc import Sequence
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


def merge_file(cfg: CfgNode, path: str) -> set[str]:
    """Merge a YAML file and its bases, and return its keys.

    Raises ValueError, naming the file, for an unknown key or a wrong type.
    """
    loaded = read_config(path)
    try:
        check_keys(loaded)
        for key, value in flatten(loaded).items():
            check_unread(cfg, key, value)
        if isinstance(own := loaded.get("DATASET"), dict) and "TASKS" in own:
            loaded["DATASET"] = {**own, "TASKS": as_names(own["TASKS"])}
        cfg.merge_from_other_cfg(with_declared_numbers(CfgNode(loaded), cfg))
    except KeyError as error:
        raise ValueError(f"{path}: {unknown_key(cfg, str(error.args[0]).rsplit(' ', 1)[-1])}") from error
    except (ValueError, AssertionError, AttributeError, RecursionError, MemoryError) as error:
        raise ValueError(f"{path}: {shortened(error)}") from error
    return set(flatten(loaded))


def merge_list(cfg: CfgNode, opts: Sequence) -> None:
    """Merge pairs KEY VALUE. Raises ValueError, naming the key, as `merge_file` does."""
    if len(opts) % 2:
        raise ValueError(f"trailing options come in pairs KEY VALUE, got {len(opts)}: {' '.join(map(str, opts))}")
    for key, value in zip(opts[::2], opts[1::2]):
        if value == "None" and declared(cfg, key) is not None:
            raise ValueError(f"{key}: None is no value; its default is {reprlib.repr(declared(cfg, key))}")
        check_unread(cfg, key, value)
        value = as_names(value) if key == TASKS else value
        try:
            cfg.merge_from_list([key, as_declared(value, declared(cfg, key))])
        except (AssertionError, AttributeError, KeyError) as error:
            raise ValueError(unknown_key(cfg, key)) from error
        except (ValueError, OverflowError, RecursionError, MemoryError) as error:  # the last: nested too deep
            raise ValueError(f"{key}: {reprlib.repr(value)} does not fit: {shortened(error)}") from error


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


def check_keys(node: dict, prefix: str = "") -> None:
    """Raise ValueError for a key that is not a string."""
    for key, value in node.items():
        if not isinstance(key, str):
            raise ValueError(f"{reprlib.repr(key)} is not the name of a config key{f' in {prefix}' if prefix else ''}")
        if isinstance(value, dict):
            check_keys(value, key)


def with_declared_numbers(loaded: CfgNode, cfg: CfgNode) -> CfgNode:
    """`loaded`, with its numbers in the types that `cfg` declares; otherwise yacs refuses `LR: 1`."""
    for key, value in loaded.items():
        if isinstance(value, CfgNode):
            with_declared_numbers(value, cfg.get(key) if isinstance(cfg.get(key), CfgNode) else CfgNode())
        elif value is None and cfg.get(key) is not None:
            raise ValueError(f"{key} has no value; its default is {reprlib.repr(cfg[key])}")
        else:
            try:
                loaded[key] = as_declared(value, cfg.get(key))
            except OverflowError as error:
                raise ValueError(f"{key} is {reprlib.repr(value)}, too large for a number") from error
    return loaded


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


def flatten(node: dict, prefix: str = "") -> dict[str, object]:
    """{"A.B": value} of a nested config."""
    flat = {}
    for key, value in node.items():
        flat.update(flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat


def unread_keys(cfg: CfgNode, defaults: CfgNode) -> list[str]:
    """The keys with changed values that nothing reads, because they belong to other methods than TRAINER.NAME."""
    before, own = flatten(defaults.TRAINER), cfg.TRAINER.NAME.upper()
    return [
        f"TRAINER.{key}"
        for key, value in sorted(flatten(cfg.TRAINER).items())
        if "." in key and key.split(".")[0] != own and value != before.get(key)
    ]
