"""A task: its name, classes, metric and hand-made prompt; halves of tasks and of classes."""

import re
from dataclasses import dataclass
from typing import TypeVar

from softcpt.files.messages import nearest
from softcpt.files.texts import nfc

Item = TypeVar("Item")

METRICS = ("accuracy", "mean_per_class")
DEFAULT_TEMPLATE = "a photo of a {}."
TEMPLATE_RULE = "must have one {} for the class name, and no other braces"


def is_template(text: str) -> bool:
    """Whether a text has one placeholder {} for a class name, and nothing else that `str.format` would replace."""
    return text.count("{}") == text.count("{") == text.count("}") == 1


def half(items: list[Item], which: str) -> list[Item]:
    """All items, their first half ("base", rounded up) or the rest ("new")."""
    middle = (len(items) + 1) // 2
    return {"all": items, "base": items[:middle], "new": items[middle:]}[which]


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
