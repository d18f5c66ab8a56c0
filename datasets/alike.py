"""Classes whose names a CLIP reads alike, so that no prompt can tell them apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

ALIKE = 0.99999  # cosine of two classes' features above which no image can tell them apart
WAY_OUT = (
    ": this CLIP reads their names alike, so prompts cannot tell them apart. Rename all but one of them (own data: "
    "`classes` in tasks.yaml, or the column `class` of tasks.csv), or use a CLIP that knows these words"
)


def alike(features: Tensor, names: Sequence[str]) -> list[str]:
    """A note on each group of classes whose features (C, E) are equal up to their length, with what to do about it."""
    features = features.float() / features.float().norm(dim=1, keepdim=True)
    groups: dict[int, list[str]] = {}  # by the first class of each
    equal = (features @ features.T > ALIKE).fill_diagonal_(True)
    for label, first in enumerate(equal.int().argmax(dim=1).tolist()):  # the first of the largest
        groups.setdefault(first, []).append(names[label])
    return [
        f"{_listed(group)} have the same class features (cosine 1.00000){WAY_OUT}"
        for group in groups.values()
        if len(group) > 1
    ]


def _listed(names: Sequence[str]) -> str:
    shown = [*map(repr, names[:4]), *([f"{len(names) - 4} more"] if len(names) > 4 else [])]
    return f"{', '.join(shown[:-1])} and {shown[-1]}"
