"""Predictors with one interface: a run, alone or beside zero-shot CLIP; a run on a new task; an export."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from softcpt.images.read import rgb_of
from softcpt.inference import Classifier
from softcpt.inference.images import Picture
from trainers import PromptTrainer

from .new_tasks import new_task_heads

ZERO_SHOT = "zero-shot"


@dataclass(frozen=True)
class Answer:
    """For one task, {class name: probability} of the trained method and, {} without it, of zero-shot CLIP."""

    task: str
    tuned: dict[str, float]
    zero_shot: dict[str, float]


class Predictor:
    """Scores of images, by the name of their source: "" is the method, ZERO_SHOT is CLIP with hand-made prompts.

    Attributes:
        classes_: {task: class names}; `templates` has the hand-made prompt of each task, in the same order.
        transform: from an RGB image to a tensor (3, H, W).
        upright: whether images are turned as their EXIF entries say.
    """

    has_zero_shot = False

    def __init__(
        self,
        tasks: Sequence[tuple[str, Sequence[str], str]],
        transform: Callable[[Image.Image], Tensor],
        upright: bool,
    ) -> None:
        self.classes_ = {name: list(classes) for name, classes, _ in tasks}
        self.templates = {name: template for name, _, template in tasks}
        self.tasks, self.transform, self.upright = list(self.classes_), transform, upright

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """{source: features (B, E)} of images (B, 3, H, W), for all tasks."""
        raise NotImplementedError

    def logits(self, features: Mapping[str, Tensor], task: str) -> dict[str, Tensor]:
        """{source: logits (B, R)} of a task's classes."""
        raise NotImplementedError

    def scores(self, images: Tensor, task: str) -> dict[str, Tensor]:
        """{source: probabilities (B, R)} of a task's classes for images (B, 3, H, W)."""
        return self._shares(self.features(images), task)

    def answers(self, image: Picture) -> list[Answer]:
        """The answer of each task on a picture, read as the run reads its own."""
        features, found = self.features(self.transform(rgb_of(image, self.upright)).unsqueeze(0)), []
        for task, names in self.classes_.items():
            shares = {source: p[0].tolist() for source, p in self._shares(features, task).items()}
            found.append(Answer(task, *(dict(zip(names, shares.get(source, ()))) for source in ("", ZERO_SHOT))))
        return found

    @torch.no_grad()
    def _shares(self, features: Mapping[str, Tensor], task: str) -> dict[str, Tensor]:
        return {name: logits.float().softmax(1).cpu() for name, logits in self.logits(features, task).items()}


class ExportPredictor(Predictor):
    """An exported classifier, which has no text tower for zero-shot CLIP."""

    def __init__(self, classifier: Classifier) -> None:
        tasks = [(task["name"], task["classnames"], task["template"]) for task in classifier.export.tasks]
        super().__init__(tasks, classifier.transform, classifier.export.upright)
        self.classifier = classifier

    def features(self, images: Tensor) -> dict[str, Tensor]:
        return {"": self.classifier.features(images)}

    def logits(self, features: Mapping[str, Tensor], task: str) -> dict[str, Tensor]:
        return {"": self.classifier.logits(features[""], task)}


class RunPredictor(Predictor):
    """A run on its own tasks; with `zero_shot` beside zero-shot CLIP, which uses the pretrained image tower."""

    @torch.no_grad()
    def __init__(self, trainer: PromptTrainer, zero_shot: bool = False) -> None:
        tasks = [(task.name, task.classnames, task.template) for task in trainer.tasks]
        super().__init__(tasks, trainer.test_transform, trainer.cfg.INPUT.UPRIGHT)
        self.trainer, self.has_zero_shot = trainer, zero_shot
        with trainer.autocast():  # once for all batches; (C, E)
            self.class_features = trainer.class_features()
        self.zero_shot = trainer.zero_shot_features() if zero_shot else None

    @torch.no_grad()
    def features(self, images: Tensor) -> dict[str, Tensor]:
        images = images.to(self.trainer.device)
        with self.trainer.autocast():
            zero_shot = {ZERO_SHOT: self.trainer.clip.encode_image(images)} if self.has_zero_shot else {}
            return {"": self.trainer.image_features(images), **zero_shot}

    @torch.no_grad()
    def logits(self, features: Mapping[str, Tensor], task: str) -> dict[str, Tensor]:
        trainer, x = self.trainer, features[""]
        classes = (trainer.class_task == self.tasks.index(task)).nonzero().squeeze(1)  # (R,)
        with trainer.autocast():
            chosen = None if self.class_features is None else self.class_features[classes]
            own = trainer.class_logits(x, chosen, classes)
            if self.zero_shot is None:
                return {"": own}
            return {"": own, ZERO_SHOT: PromptTrainer.logits(trainer, features[ZERO_SHOT], self.zero_shot[classes])}


class NewTaskPredictor(RunPredictor):
    """A run on a task that it was not trained on, beside hand-made prompts and, if possible, the mean of both."""

    def __init__(self, trainer: PromptTrainer) -> None:
        super().__init__(trainer)
        self.heads = new_task_heads(trainer)
        self.method = type(trainer).__name__
        self.learns = bool(trainer.learned.state_dict())

    @torch.no_grad()
    def features(self, images: Tensor) -> dict[str, Tensor]:
        own = super().features(images) if self.learns and "context" not in self.heads else {}
        with self.trainer.autocast():
            return {**own, ZERO_SHOT: self.trainer.clip.encode_image(images.to(self.trainer.device))}  # untouched tower

    @torch.no_grad()
    def logits(self, features: Mapping[str, Tensor], task: str) -> dict[str, Tensor]:
        own = {self.method: super().logits(features, task)[""]} if "" in features else {}
        heads = {name: head(features[ZERO_SHOT]) for name, head in self.heads.items()}
        return own | {self.method if name == "context" else name: values for name, values in heads.items()}

    def legend(self) -> str:
        """What the sources are."""
        template = self.templates[self.tasks[0]]
        own = "the context that it generates from the task's name" if self.method == "SoftCPT" else "as it was trained"
        parts = [f'zero-shot: the hand-made prompt "{template}"']
        if self.learns:
            parts.insert(0, f"{self.method}: {own}, never trained on this task")
        if "average" in self.heads:
            parts.append("average: the mean of the two after normalisation")
        return "; ".join(parts)
