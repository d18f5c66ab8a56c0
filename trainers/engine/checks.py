"""Checks of config values: each raises a ValueError that names the key, its value and what is legal.

A rule says which values are legal, a Range or a sequence of names. The type follows from the key's default value.
"""

import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from softcpt.files.messages import check_choice
from softcpt.files.texts import in_utf8
from softcpt.tasks import is_template

LONGEST = 4096  # characters of a text, as of a path
MOST = 10**9  # of any whole number: what counts epochs, images or bytes beyond it is a slip


class Range(NamedTuple):
    """The values for which `holds` is true, in words: `text`. `holds` is called with values of the right type only."""

    holds: Callable[[Any], bool]
    text: str


Rule = Range | Sequence[str]


def between(low: float, high: float, note: str = "") -> Range:
    """The numbers from `low` to `high`, both included; `note` explains some of them."""
    return Range(lambda x: low <= x <= high, f"at least {low:,} and at most {high:,}" + (f" ({note})" if note else ""))


def each(item: Range, counts: Sequence[int], text: str) -> Range:
    """Sequences of numbers of which each is in `item`, with one of the lengths `counts`; `text` says all of it."""
    return Range(lambda x: len(x) in counts and all(is_number(i) and item.holds(i) for i in x), text)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def is_text(value: object) -> bool:
    """Whether `value` is text that can be written to a file and be a path."""
    return isinstance(value, str) and "\0" not in value and len(value) <= LONGEST and in_utf8(value)


LARGE = 10**6  # of numbers with a fraction, far from where fp32 overflows
AT_LEAST_0 = between(0, LARGE)
AT_LEAST_1 = between(1, LARGE)
ABOVE_0 = Range(lambda x: 1e-12 <= x <= LARGE, f"above 0 (1e-12 to {LARGE:,})")
NUMBER = between(-LARGE, LARGE)
COUNT = between(1, MOST)
COUNT_OR_0 = between(0, MOST)
SHARE = Range(lambda x: 0 < x <= 1, "in (0, 1]")
BELOW_1 = Range(lambda x: 0 <= x < 1, "in [0, 1)")
TOKENS = between(1, 512)  # of a context; how many fit depends on the CLIP and the longest name
TEXT = Range(lambda x: True, "text in UTF-8")
SWITCH = Range(lambda x: True, "True or False")
TEMPLATE = Range(
    lambda x: not x or is_template(x), "a template: it must have one {} for the class name and no other braces"
)
ONE_FOR_ALL = Range(  # CSC of a method that has no contexts per class
    lambda per_class: not per_class,
    "possible: all classes share this method's contexts; CoOp, KgCoOp and ProGrad have one per class",
)


def type_of(default: object) -> Range | None:
    """The values of the type of a key's default value; None for a default that tells no type."""
    kinds = {
        bool: Range(lambda x: type(x) is bool, "True or False"),
        int: Range(lambda x: type(x) is int and abs(x) <= max(MOST, 2**32), "a whole number"),
        float: Range(is_number, "a finite number"),
        str: Range(is_text, "text in UTF-8"),
    }
    if isinstance(default, list | tuple):
        item = type_of(default[0]) if default else Range(lambda x: is_text(x) or is_number(x), "text or a number")
        if item is None:
            return None
        holds = item.holds
        return Range(lambda x: isinstance(x, list | tuple) and all(map(holds, x)), f"a list, each {item.text}")
    return kinds.get(type(default))


def rule_of(key: str, rules: Mapping[str, Rule], default: object) -> Rule | None:
    """The rule of a key; every switch and every template has one by itself."""
    if key in rules:
        return rules[key]
    return SWITCH if isinstance(default, bool) else TEMPLATE if key.endswith("TEMPLATE") else None


def check_value(key: str, value: object, default: object, rule: Rule | None) -> None:
    """Raise ValueError unless `value` has the type of the key's `default` and is legal by `rule`."""
    kind = type_of(default)
    if kind and not kind.holds(value):
        several = isinstance(default, list | tuple)
        texts = [words(rule)] if rule and several else [kind.text, words(rule)] if rule else [kind.text]
        raise ValueError(f"{key}: {reprlib.repr(value)} is not {', '.join(dict.fromkeys(texts))}")
    if isinstance(rule, Range):
        if not rule.holds(value):
            shown = repr(value) if isinstance(value, str) else str(value)
            raise ValueError(f"{key}: {shown if len(shown) < 100 else reprlib.repr(value)} is not {rule.text}")
    elif rule is not None:
        check_choice(key, value, rule)


def words(rule: Rule) -> str:
    """What is legal by a rule, in words."""
    return rule.text if isinstance(rule, Range) else f"one of {', '.join(map(str, rule))}"
