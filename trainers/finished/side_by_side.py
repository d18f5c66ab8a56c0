"""A method's answers on a picture, for every task, beside those of zero-shot CLIP where there is a text tower."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from softcpt.images.read import rgb_of
from softcpt.inference import Classifier
from softcpt.inference.images import Picture
from trainers import PromptTrainer


@dataclass(frozen=True)
class Answer:
    """For one task, {class name: probability} of the trained method and of zero-shot CLIP with the task's template.

    An export has no text tower: its `zero_shot` is empty.
    """

    task: str
    template: str
    tuned: dict[str, float]
    zero_shot: dict[str, float]


class ExportAlone:
    """An exported classifier."""

    has_zero_shot = False

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.tasks = [(task["name"], task["template"]) for task in classifier.export.tasks]

    def answers(self, image: Picture) -> list[Answer]:
        """The answer of each task on a picture, read as the export's run reads its own."""
        x = self.classifier.transform(rgb_of(image, self.classifier.export.upright)).unsqueeze(0)  # (1, 3, H, W)
        features, found = self.classifier.features(x), []
        for name, template in self.tasks:
            p = self.classifier.logits(features, name).softmax(1)[0].tolist()
            found.append(Answer(name, template, dict(zip(self.classifier.classes_[name], p)), {}))
        return found


class SideBySide:
    """A loaded trainer beside zero-shot CLIP; class features are computed once."""

    has_zero_shot = True

    @torch.no_grad()
    def __init__(self, trainer: PromptTrainer) -> None:
        self.trainer = trainer
        self.tasks = [(task.name, task.template) for task in trainer.tasks]
        with trainer.autocast():
            self.tuned = trainer.class_features()  # (C, E)
        self.zero_shot = trainer.zero_shot_features()  # (C, E)

    @torch.no_grad()
    def answers(self, image: Picture) -> list[Answer]:
        """The answer of each task on a picture, read as the run reads its own. Zero-shot CLIP uses the pretrained image
        tower."""
        trainer, found = self.trainer, []
        picture = rgb_of(image, trainer.cfg.INPUT.UPRIGHT)
        x = trainer.test_transform(picture).unsqueeze(0).to(trainer.device)  # (1, 3, H, W)
        with trainer.autocast():
            tuned, plain = trainer.image_features(x), trainer.clip.encode_image(x)
            for t, task in enumerate(trainer.tasks):
                rows = (trainer.class_task == t).nonzero().squeeze(1)  # (R,)
                own = trainer.class_logits(tuned, None if self.tuned is None else self.tuned[rows], rows)
                zero = PromptTrainer.logits(trainer, plain, self.zero_shot[rows])
                both = [dict(zip(task.classnames, logits.float().softmax(1)[0].tolist())) for logits in (own, zero)]
                found.append(Answer(task.name, task.template, *both))
        return found
