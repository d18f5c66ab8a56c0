"""Prompts in the layers of CLIP's towers, for MaPLe and PromptSRC, and the check that a tower takes a tuning."""

import logging
from collections.abc import Sequence

import torch
from torch import nn

from softcpt.backbones import CLIP

from .learned import Context, PromptTemplate
from .sentences import word_ids

logger = logging.getLogger(__name__)


def check_tunable(tower: str, model: CLIP, name: str, what: str, instead: str) -> None:
    """Raise ValueError, with the reason and an alternative, for a CLIP whose tower takes no tuning.

    Args:
        tower: "image" or "text".
        name: the value of MODEL.BACKBONE.NAME.
        what: what the method needs of the tower, for the message.
        instead: what the user can choose.
    """
    reason = model.visual.not_tunable if tower == "image" else model.text.not_tunable
    plain = f"use a plain vision transformer, or {instead}"
    own = f"use {instead}, or a CLIP whose text tower is this project's"
    if reason:
        raise ValueError(
            f"MODEL.BACKBONE.NAME: {what}, and the {tower} tower of {name} takes none: {reason}; "
            f"{plain if tower == 'image' else own}"
        )


def limited_depth(key: str, depth: int, layers: int) -> int:
    """The smaller of `depth`, the value of a config's `key`, and the number of layers (logged)."""
    if depth > layers:
        logger.warning("%s is %d, but this CLIP has towers of %d layers", key, depth, layers)
    return min(depth, layers)


def random_prompts(layers: int, count: int, width: int) -> nn.ParameterList:
    """A prompt (count, width) ~ N(0, 0.02^2) for each of `layers` layers."""
    return nn.ParameterList(0.02 * torch.randn(count, width) for _ in range(layers))


def context_of_words(
    words: str, count: int, names: Sequence[str], model: CLIP, key: str
) -> tuple[Context, PromptTemplate]:
    """A context that starts as the first `count` tokens of `words`, and the prompts of `names` after the others.

    Raises ValueError, naming `key`, for words of fewer tokens.
    """
    length = len(word_ids(words, "end", model.tokenizer))
    if words and length < count:
        raise ValueError(
            f"{key}: {count} is more than the {length} tokens of CTX_INIT {words!r}; write more words, or none for a "
            "random start"
        )
    return Context(count, model, words=words, cut=True), PromptTemplate(names, count, model, words=words)
