"""Checks of config values: each raises a ValueError that names the key, its value and what is legal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datasets.multitask import is_template


def check_choice(key: str, value: object, legal: Sequence[object]) -> None:
    """`value` is one of `legal`."""
    if value not in legal:
        raise ValueError(f"{key}: {value!r} is not legal; one of {', '.join(map(str, legal))}")


def check_at_least(node: Any, prefix: str, least: int, *keys: str) -> None:
    """Each of `keys` in the config node `prefix` is at least `least`."""
    for key in keys:
        if node[key] < least:
            raise ValueError(f"{prefix}.{key}: {node[key]} is not at least {least}")


def check_positive(node: Any, prefix: str, *keys: str) -> None:
    """Each of `keys` in the config node `prefix` is above 0."""
    for key in keys:
        if node[key] <= 0:
            raise ValueError(f"{prefix}.{key}: {node[key]} is not above 0")


def check_template(key: str, template: str) -> None:
    """`template` is empty, or has one place for the class name."""
    if template and not is_template(template):
        raise ValueError(f"{key}: {template!r} must have one {{}} for the class name and no other braces, or be empty")


def check_count(key: str, count: object) -> None:
    """`count` is a number of checkpoints, or 0 for all of them."""
    if type(count) is not int or count < 0:
        raise ValueError(f"{key}: {count} is no number of checkpoints, of which 0 keeps all")
