"""Checks of prompts: class names that make odd sentences, and classes that a CLIP cannot tell apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from softcpt.files.texts import counted

if TYPE_CHECKING:
    from torch import Tensor

ALIKE = 0.99999  # cosine of two classes' features above which no image can tell them apart
COLOURS = (
    "black blue brown cyan gold gray green grey magenta orange pink purple red silver turquoise violet white yellow"
)
NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve"
NO_NOUNS = frozenset(f"{COLOURS} {NUMBERS}".split())
ADJECTIVE = re.compile(r"[a-z]{3,}(ed|ing|ous|less|ish)|[a-z]+-(like|shaped|coloured|colored)")
NO_WORD = re.compile(r"\d{4,}|n\d{8}|(class|label|category|cat|c|id)[ _-]*\d+", re.I)
ARTICLE = re.compile(r"(a|an|the) ", re.I)
SHOWN = 3
WAY_OUT = (
    ": this CLIP reads their names alike, so prompts cannot tell them apart. Rename all but one of them (own data: "
    "`classes` in tasks.yaml, or the column `class` of tasks.csv), or use a CLIP that knows these words"
)


def odd_prompts(template: str, names: Sequence[str]) -> list[str]:
    """Notes on odd sentences that `template` makes of class names, found by rules of thumb.

    Adjectives and numbers make no noun phrase after "a". They are recognised by lists of words and by endings, and only
    reported if at least half of the names are such: an orange is also a fruit, and a wedding is not an adjective.
    """
    found = []
    words = [name.replace("_", " ").strip() for name in names]
    before, _, after = template.partition("{}")
    if re.search(r"\b(a|an) $", before) and not re.match(r" *[a-z]", after):
        odd = [w for w in words if w.lower() in NO_NOUNS or ADJECTIVE.fullmatch(w.lower()) or re.fullmatch(r"\d+", w)]
        if 2 * len(odd) >= len(words):
            found.append(f"{counted(len(odd), 'prompt')} naming no thing: {_examples(template, odd)}")
    if re.search(r"\b(a|an|the) $", before):
        odd = [word for word in words if ARTICLE.match(word)]
        if odd:
            found.append(f"{counted(len(odd), 'prompt')} with two articles: {_examples(template, odd)}")
    odd = [word for word in words if NO_WORD.fullmatch(word)]
    if odd:
        what = f"{counted(len(odd), 'class name')} without a word, unknown to any CLIP"
        found.append(f"{what}: {_examples(template, odd)}")
    return found


def _examples(template: str, words: Sequence[str]) -> str:
    more = ", ..." if len(words) > SHOWN else ""
    return ", ".join(f'"{template.format(word)}"' for word in words[:SHOWN]) + more


def alike(features: Tensor, names: Sequence[str]) -> list[str]:
    """A note on each group of classes whose features (C, E) are equal up to their length, with what to do about it."""
    features = features.float() / features.float().norm(dim=1, keepdim=True)
    pairs = (features @ features.T > ALIKE).triu(1).nonzero().tolist()
    groups: dict[int, list[int]] = {}
    first: dict[int, int] = {}
    for i, j in pairs:  # by rows, so that a group's first class comes first
        first.setdefault(j, first.get(i, i))
        group = groups.setdefault(first[j], [first[j]])
        group += [j] if j not in group else []
    return [
        f"{_listed([names[i] for i in group])} have the same class features (cosine 1.00000){WAY_OUT}"
        for group in groups.values()
    ]


def _listed(names: Sequence[str]) -> str:
    *start, last = (
        [repr(name) for name in names] if len(names) <= 4 else [*map(repr, names[:4]), f"{len(names) - 4} more"]
    )
    return f"{', '.join(start)} and {last}"
