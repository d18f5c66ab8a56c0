"""Tasks that a run was not trained on: classifiers from their names, and from hand-made prompts."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F

from softcpt.backbones import Head
from softcpt.files import line_not_in_utf8
from softcpt.files.texts import in_utf8
from softcpt.prompts.zero_shot import zero_shot_features
from softcpt.tasks import DEFAULT_TEMPLATE, Task
from trainers import PromptTrainer

FEATURES = ("context", "zero-shot", "average")  # names of the heads of `new_task_heads`


def new_task(name: str, classnames: Sequence[str], template: str = "") -> Task:
    """A task from class names. Raises ValueError without names, for two equal ones, for a template without {}, and for
    a text that is not UTF-8."""
    for text in (name, template):
        if not in_utf8(text):
            raise ValueError(f"{text!r} is not text in UTF-8")
    twice = sorted({word for word in classnames if list(classnames).count(word) > 1})
    if not classnames or twice:
        raise ValueError(f"task {name!r}: " + (f"{twice[0]!r} occurs twice" if twice else "no class names"))
    return Task(name, tuple(classnames), template=template or DEFAULT_TEMPLATE)


@torch.no_grad()
def new_task_heads(trainer: PromptTrainer) -> dict[str, Head]:
    """Heads for an untrained task on the unchanged image tower: "zero-shot" from hand-made prompts and, if the method
    has class features, "context" from these and "average" from the mean of both after normalisation."""
    with trainer.autocast():
        zero_shot = zero_shot_features(trainer.tasks, "", trainer.clip, trainer.text_encoder)
    heads = {"zero-shot": PromptTrainer.head(trainer, zero_shot, 0)}
    learns = bool(trainer.learned.state_dict())  # unlike zero-shot CLIP
    if not learns or trainer.no_heads or trainer.tunes_images or trainer.image_projection() is not None:
        return heads
    with trainer.autocast():
        own = trainer.new_class_features()
    context = PromptTrainer.head(trainer, own, 0)
    both = F.normalize(context.weight, dim=-1) + heads["zero-shot"].weight
    return {"context": context, **heads, "average": PromptTrainer.head(trainer, both, 0)}


def read_names(path: Path) -> list[str]:
    """Class names from a file, one per line; empty lines are skipped. Raises FileNotFoundError, ValueError."""
    if not path.is_file():
        raise FileNotFoundError(f"no file of class names {path}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: {line_not_in_utf8(path)}") from error
    return [line.strip() for line in lines if line.strip()]
