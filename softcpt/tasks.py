"""A task: its name, classes, metric and hand-made prompt; the halves of tasks and classes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from softcpt.files.messages import nearest
from softcpt.files.texts import nfc

METRICS = ("accuracy", "mean_per_class")
DEFAULT_TEMPLATE = "a photo of a {}."
Item = TypeVar("Item")
TEMPLATE_RULE = "must have one {} for the class name, and no other braces"


def is_template(text: str) -> bool:
    """Whether a text has one placeholder {} for a class name, and nothing else that `str.format` would replace."""
    return text.count("{}") == text.count("{") == text.count("}") == 1


@dataclass(frozen=True)
class Task:
    """A classification task: its name in words, its classes in label order, its metric and its hand-made prompt."""

    name: str
    classnames: tuple[str, ...]
    metric: str = "accuracy"
    template: str = DEFAULT_TEMPLATE

    def __post_init__(self):
        for key in ("name", "template"):
            object.__setattr__(self, key, nfc(getattr(self, key)))
        object.__setattr__(self, "classnames", tuple(map(nfc, self.classnames)))
        if self.metric not in METRICS:
            use = f"use one of {', '.join(METRICS)}{nearest(self.metric, METRICS)}"
            raise ValueError(f"task {self.name!r}: metric is {self.metric!r}, {use}")
        if not is_template(self.template):
            raise ValueError(f"task {self.name!r}: template {self.template!r} {TEMPLATE_RULE}")


def words(name: str) -> str:
    """A class name as lower-case words: "OxfordPets" becomes "oxford pets", "FGVCAircraft" becomes "fgvc aircraft"."""
    return " ".join(re.findall(r"[A-Z]+\d*(?![a-z])|[A-Z]?[a-z]+\d*|\d+", name)).lower()


def half_of(items: Sequence[Item], which: str) -> Sequence[Item]:
    """All items, the first half, rounded up ("base"), or the rest ("new")."""
    middle = (len(items) + 1) // 2
    return {"all": items, "base": items[:middle], "new": items[middle:]}[which]
