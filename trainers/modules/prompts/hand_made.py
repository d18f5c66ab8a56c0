"""Hand-made prompts: class names in sentences, for zero-shot CLIP and for the methods that keep close to it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from backbones import CLIP, UNTUNED, Tuning
from datasets.multitask import Task

from .encoder import TextEncoder
from .learned import PromptTemplate, clean

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

# What PromptSRC averages: 60 of the 80 templates that CLIP's authors published for ImageNet (in the same notebook).
IMAGENET = (
    "a photo of a {}.",
    "a bad photo of a {}.",
    "a photo of many {}.",
    "a sculpture of a {}.",
    "a photo of the hard to see {}.",
    "a low resolution photo of the {}.",
    "a rendering of a {}.",
    "graffiti of a {}.",
    "a bad photo of the {}.",
    "a cropped photo of the {}.",
    "a tattoo of a {}.",
    "the embroidered {}.",
    "a photo of a hard to see {}.",
    "a bright photo of a {}.",
    "a photo of a clean {}.",
    "a photo of a dirty {}.",
    "a dark photo of the {}.",
    "a drawing of a {}.",
    "a photo of my {}.",
    "the plastic {}.",
    "a photo of the cool {}.",
    "a close-up photo of a {}.",
    "a black and white photo of the {}.",
    "a painting of the {}.",
    "a painting of a {}.",
    "a pixelated photo of the {}.",
    "a sculpture of the {}.",
    "a bright photo of the {}.",
    "a cropped photo of a {}.",
    "a plastic {}.",
    "a photo of the dirty {}.",
    "a jpeg corrupted photo of a {}.",
    "a blurry photo of the {}.",
    "a photo of the {}.",
    "a good photo of the {}.",
    "a rendering of the {}.",
    "a {} in a video game.",
    "a photo of one {}.",
    "a doodle of a {}.",
    "a close-up photo of the {}.",
    "the origami {}.",
    "the {} in a video game.",
    "a sketch of a {}.",
    "a doodle of the {}.",
    "a origami {}.",
    "a low resolution photo of a {}.",
    "the toy {}.",
    "a rendition of the {}.",
    "a photo of the clean {}.",
    "a photo of a large {}.",
    "a rendition of a {}.",
    "a photo of a nice {}.",
    "a photo of a weird {}.",
    "a blurry photo of a {}.",
    "a cartoon {}.",
    "art of a {}.",
    "a sketch of the {}.",
    "a embroidered {}.",
    "a pixelated photo of a {}.",
    "itap of the {}.",
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


def averaged_features(tasks: Sequence[Task], templates: Sequence[str], model: CLIP, encoder: TextEncoder) -> Tensor:
    """The mean (C, E) of `hand_made_features` over several templates."""
    return sum(hand_made_features(tasks, template, model, encoder) for template in templates) / len(templates)
