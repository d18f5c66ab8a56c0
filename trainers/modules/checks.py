"""Checks of config values: each raises a ValueError that names the key, its value and what is legal."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from datasets.multitask import is_template


class Range(NamedTuple):
    """The numbers for which `holds` is true, in words: `text`."""

    holds: Callable[[float], bool]
    text: str


AT_LEAST_0 = Range(lambda x: x >= 0, "at least 0")
AT_LEAST_1 = Range(lambda x: x >= 1, "at least 1")
ABOVE_0 = Range(lambda x: x > 0, "above 0")
ONE_FOR_ALL = Range(  # CSC of a method that has no contexts per class
    lambda per_class: not per_class,
    "possible: all classes share this method's contexts; CoOp, KgCoOp and ProGrad have one per class",
)


def check_options(node: str, options: Mapping[str, Any], legal: Mapping[str, Range | Sequence[str]]) -> None:
    """The values of a method's config node, named `node`, by its `legal`; templates of class names always."""
    for key, value in options.items():
        rule = legal.get(key)
        if isinstance(rule, Range):
            if not rule.holds(value):
                raise ValueError(f"{node}.{key}: {value} is not {rule.text}")
        elif rule is not None:
            check_choice(f"{node}.{key}", value, rule)
        if key.endswith("TEMPLATE") and value and not is_template(value):
            raise ValueError(
                f"{node}.{key}: {value!r} must have one {{}} for the class name and no other braces, or be empty"
            )


def check_choice(key: str, value: object, legal: Sequence[object]) -> None:
    if value not in legal:
        raise ValueError(f"{key}: {value!r} is not legal; one of {', '.join(map(str, legal))}")


def check_count(key: str, count: object, things: str, none: str) -> None:
    """A number of things, or 0 for what `none` says; yacs lets None pass as a value of any key."""
    if type(count) is not int or count < 0:
        raise ValueError(f"{key}: {count} is not a number of {things}, or 0 for {none}")
