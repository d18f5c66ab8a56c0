"""Zero-shot CLIP's scores on test images with any template, to verify an installation against published numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from softcpt.evaluation.metrics import mean_recall
from softcpt.evaluation.published import Published
from softcpt.prompts.zero_shot import class_sentences, encode_sentences
from trainers import PromptTrainer

AT_A_TIME = 4096  # images whose logits are computed together


@dataclass(frozen=True)
class Score:
    """The percentages of one task on n test images: `values` is {"accuracy" | "mean_per_class": value}."""

    task: str
    template: str
    metric: str
    n: int
    values: dict[str, float]


class ZeroShotTest:
    """The features of a ZeroshotCLIP trainer's test images, encoded once, and their scores with any template."""

    @torch.no_grad()
    def __init__(self, trainer: PromptTrainer) -> None:
        self.trainer = trainer
        features, labels = [], []
        for batch in tqdm(trainer.test_loader, desc="test images", unit="batch", disable=None):
            with trainer.autocast():
                features.append(trainer.image_features(batch["img"].to(trainer.device)).float().cpu())
            labels.append(batch["label"])
        self.features, self.labels = torch.cat(features), torch.cat(labels)  # (N, E), (N,)

    @torch.no_grad()
    def scores(self, template: str = "") -> list[Score]:
        """The score of each task with the class names in `template`, or for "" in the task's own."""
        trainer, evaluator = self.trainer, self.trainer.evaluator
        sentences = class_sentences(trainer.tasks, (template,), trainer.clip)
        with trainer.autocast():
            classes = encode_sentences(sentences, trainer.text_encoder)  # (C, E)
        evaluator.reset()
        for x, label in zip(self.features.split(AT_A_TIME), self.labels.split(AT_A_TIME)):
            evaluator.process(trainer.logits(x.to(trainer.device), classes), label)
        return [
            Score(task.name, template or task.template, task.metric, int(counts.sum()), percentages(counts))
            for task, counts in zip(trainer.tasks, evaluator.confusion)
        ]


def percentages(counts: Tensor) -> dict[str, float]:
    """Both metrics of confusion counts (C, C), with true classes in rows; {} without images."""
    n = int(counts.sum())
    return {"accuracy": 100 * int(counts.trace()) / n, "mean_per_class": 100 * mean_recall(counts)} if n else {}


@dataclass(frozen=True)
class Verification:
    """For one data set: lines to print, the number of published values, and the number of those that differ."""

    lines: tuple[str, ...]
    compared: int
    missed: int


def verify(trainer: PromptTrainer, published: Sequence[Published]) -> Verification:
    """Compare each published value with the one measured with its template on a trainer's test images; without any,
    show what is measured with the tasks' own templates."""
    test = ZeroShotTest(trainer)
    lines, missed = [], 0
    for row in published:
        (score,) = test.scores(row.template)
        found = score.values.get(row.metric, 0.0)
        right = row.matches(found)
        missed += not right
        difference = round(found - row.accuracy, 2) + 0.0  # 0.0, not -0.0
        lines += [
            f"{'ok   ' if right else 'WRONG'}  {row.metric} {found:.2f}, published {row.accuracy:.2f} "
            f"({difference:+.2f}); {score.n:,} images, {row.backbone}, prompt {row.template!r}",
            f"       source: {row.source}",
        ]
    for score in test.scores() if not published else ():
        found = ", ".join(f"{name} {value:.2f}" for name, value in score.values.items()) or "no test images"
        lines.append(f"       {found}; {score.n:,} images, {score.task}, prompt {score.template!r}")
    if not published:
        lines.append(f"       nothing is published for {trainer.cfg.DATASET.NAME} with this CLIP")
    return Verification(tuple(lines), len(published), missed)
