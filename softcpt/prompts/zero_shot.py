"""Zero-shot prompts: class names in sentences made by hand, for zero-shot CLIP and for methods that use it."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from softcpt.backbones import CLIP, UNTUNED, Tuning
from softcpt.tasks import Task

from .encoder import Encoder
from .learned import PromptTemplate
from .sentences import clean

# The ImageNet templates that CLIP's authors found to work best (Radford et al., a notebook of the code).
ENSEMBLE = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)

# What PromptSRC averages: the first 60 of the 80 templates for ImageNet in the same notebook.
IMAGENET = tuple(Path(__file__).with_name("imagenet_templates.txt").read_text(encoding="utf-8").splitlines())


def class_sentences(tasks: Sequence[Task], templates: Sequence[str], model: CLIP) -> PromptTemplate:
    """The prompts of all classes in K `templates`, "" for a task's own; row c K + k is class c in template k."""
    sentences = [
        (template or task.template).format(clean(name))
        for task in tasks
        for name in task.classnames
        for template in templates
    ]
    return PromptTemplate(sentences, 0, model, stop="")


def encode_sentences(
    sentences: PromptTemplate, encoder: Encoder, rows: Tensor | None = None, tuning: Tuning = UNTUNED
) -> Tensor:
    """Features (R, E) of the sentences `rows` (R,), None for all; not normalised."""
    group = torch.zeros(
        len(sentences.lengths if rows is None else rows), dtype=torch.long, device=sentences.tokens.device
    )
    no_context = sentences.tokens.new_empty(1, 0, sentences.tokens.shape[-1])
    return encoder(*sentences(no_context, group, rows), group, tuning)


@torch.no_grad()
def zero_shot_features(tasks: Sequence[Task], template: str, model: CLIP, encoder: Encoder) -> Tensor:
    """Features (C, E) of all class names in `template`, or for "" in each task's own; fp32, not normalised."""
    return encode_sentences(class_sentences(tasks, (template,), model), encoder).float()


def averaged_features(tasks: Sequence[Task], templates: Sequence[str], model: CLIP, encoder: Encoder) -> Tensor:
    """The mean (C, E) of `zero_shot_features` over several templates."""
    return sum(zero_shot_features(tasks, template, model, encoder) for template in templates) / len(templates)
