"""Zero-shot CLIP's scores on test images with any template, to verify an installation against published numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from softcpt.evaluation.metrics import percent
from softcpt.evaluation.published import Published
from softcpt.prompts.zero_shot import class_sentences, encode_sentences
from softcpt.tasks import METRICS
from trainers import PromptTrainer

AT_A_TIME = 4096  # images whose logits are computed together


def percentages(counts: Tensor) -> dict[str, float]:
    """Both metrics of confusion counts (C, C), with true classes in rows; {} without images."""
    return {metric: percent(counts, metric) for metric in METRICS} if counts.sum() else {}


@dataclass(frozen=True)
class Verification:
    """For one data set: lines to print, the number of published values, and the number of those that differ."""

    lines: tuple[str, ...]
    compared: int
    missed: int


@torch.no_grad()
def test_features(trainer: PromptTrainer) -> tuple[Tensor, Tensor]:
    """Features (N, E) and labels (N,) of a trainer's test images."""
    features, labels = [], []
    for batch in tqdm(trainer.test_loader, desc="test images", unit="batch", disable=None):
        with trainer.autocast():
            features.append(trainer.image_features(batch["img"].to(trainer.device)).float().cpu())
        labels.append(batch["label"])
    return torch.cat(features), torch.cat(labels)


@torch.no_grad()
def confusion(trainer: PromptTrainer, features: Tensor, labels: Tensor, template: str = "") -> list[Tensor]:
    """The confusion counts (C, C) of each task with the class names in `template`, or for "" in the task's own."""
    sentences = class_sentences(trainer.tasks, (template,), trainer.clip)
    with trainer.autocast():
        classes = encode_sentences(sentences, trainer.text_encoder)  # (C, E)
    trainer.evaluator.reset()
    for x, label in zip(features.split(AT_A_TIME), labels.split(AT_A_TIME)):
        trainer.evaluator.process(trainer.logits(x.to(trainer.device), classes), label)
    return list(trainer.evaluator.confusion)


def verify(trainer: PromptTrainer, published: Sequence[Published]) -> Verification:
    """Compare each published value with the one measured with its template on a trainer's test images; without any,
    show what is measured with the tasks' own templates."""
    images = test_features(trainer)
    lines, missed = [], 0
    for row in published:
        (counts,) = confusion(trainer, *images, row.template)
        found = percentages(counts).get(row.metric, 0.0)
        right = row.matches(found)
        missed += not right
        difference = round(found - row.accuracy, 2) + 0.0  # 0.0, not -0.0
        lines += [
            f"{'ok   ' if right else 'WRONG'}  {row.metric} {found:.2f}, published {row.accuracy:.2f} "
            f"({difference:+.2f}); {int(counts.sum()):,} images, {row.backbone}, prompt {row.template!r}",
            f"       source: {row.source}",
        ]
    if not published:
        for task, counts in zip(trainer.tasks, confusion(trainer, *images)):
            values = ", ".join(f"{name} {value:.2f}" for name, value in percentages(counts).items())
            shown = f"{values or 'no test images'}; {int(counts.sum()):,} images"
            lines.append(f"       {shown}, {task.name}, prompt {task.template!r}")
        lines.append(f"       nothing is published for {trainer.cfg.DATASET.NAME} with this CLIP")
    return Verification(tuple(lines), len(published), missed)
