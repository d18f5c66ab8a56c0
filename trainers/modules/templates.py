"""Hand-made prompts: class names in sentences, for zero-shot CLIP and for the methods that keep close to it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from datasets.multitask import Task
from trainers.backbones import CLIP, UNTUNED, Tuning

from .prompts import PromptTemplate, clean
from .text_encoder import TextEncoder

# The subset of the ImageNet templates that CLIP's authors found to do best (Radford et al., notebook of the code).
ENSEMBLE = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)


def class_sentences(tasks: Sequence[Task], templates: Sequence[str], model: CLIP) -> PromptTemplate:
    """The prompts of all classes in each of `templates`, where "" stands for the task's own: row c K + k is class c in
    template k of K."""
    sentences = [
        (template or task.template).format(clean(name))
        for task in tasks
        for name in task.classnames
        for template in templates
    ]
    return PromptTemplate(sentences, 0, model, stop="")


def encode_sentences(
    sentences: PromptTemplate, encoder: TextEncoder, rows: Tensor | None = None, tuning: Tuning = UNTUNED
) -> Tensor:
    """Features (R, E) of the sentences `rows` (R,), None for all; not normalised."""
    like = sentences.lengths if rows is None else rows
    group = torch.zeros_like(like)
    no_context = sentences.tokens.new_empty(1, 0, sentences.tokens.shape[-1])
    return encoder(*sentences(no_context, group, rows), group, tuning)


@torch.no_grad()
def hand_made_features(tasks: Sequence[Task], template: str, model: CLIP, encoder: TextEncoder) -> Tensor:
    """Features (C, E) of all class names in `template`, or for "" in each task's own; fp32, not normalised."""
    return encode_sentences(class_sentences(tasks, (template,), model), encoder).float()


def check_template(key: str, template: str) -> None:
    """Raise ValueError unless a config's template is empty or has one place for the class name."""
    if template and template.count("{}") != 1:
        raise ValueError(f"{key}: {template!r} must have one {{}} for the class name, or be empty")
