"""A method's answers on a picture beside those of zero-shot CLIP, for every task."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from inference.images import Picture
from storage.images import rgb_of
from trainers import PromptTrainer


@dataclass(frozen=True)
class Answer:
    """For one task, {class name: probability} of the trained method and of zero-shot CLIP with the task's template."""

    task: str
    template: str
    tuned: dict[str, float]
    zero_shot: dict[str, float]


class SideBySide:
    """A loaded trainer beside zero-shot CLIP; class features are computed once."""

    @torch.no_grad()
    def __init__(self, trainer: PromptTrainer) -> None:
        self.trainer = trainer
        with trainer.autocast():
            self.tuned = None if trainer.conditional else trainer.class_features()  # (C, E)
        self.hand_made = trainer.hand_made_features()  # (C, E)

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
                own = (
                    trainer.class_logits(tuned, rows) if self.tuned is None else trainer.logits(tuned, self.tuned[rows])
                )
                zero = PromptTrainer.logits(trainer, plain, self.hand_made[rows])
                both = [dict(zip(task.classnames, logits.float().softmax(1)[0].tolist())) for logits in (own, zero)]
                found.append(Answer(task.name, task.template, *both))
        return found
