"""Predictors with one interface: a run, a run on a new task, an export.

They have `tasks` (names), `classes_` ({task: class names}), `transform` (from an RGB image to a tensor), `upright`
(whether images are turned as their EXIF entries say) and `scores`, which returns the probabilities (B, R) of a task's
classes for images (B, 3, H, W), by the name of their source ("" if there is only one).
"""

import torch
from torch import Tensor

from softcpt.inference import Classifier
from trainers import PromptTrainer

from .new_tasks import new_task_heads


class RunPredictor:
    """A run on its own tasks."""

    def __init__(self, trainer: PromptTrainer) -> None:
        self.trainer, self.transform = trainer, trainer.test_transform
        self.upright = trainer.cfg.INPUT.UPRIGHT
        self.tasks = [task.name for task in trainer.tasks]
        self.classes_ = {task.name: list(task.classnames) for task in trainer.tasks}
        with torch.no_grad(), trainer.autocast():  # once for all batches
            self.class_features = trainer.class_features()

    @torch.no_grad()
    def scores(self, images: Tensor, task: str) -> dict[str, Tensor]:
        return {"": self.logits(images, task).softmax(1).cpu()}

    @torch.no_grad()
    def logits(self, images: Tensor, task: str) -> Tensor:
        trainer = self.trainer
        rows = (trainer.class_task == self.tasks.index(task)).nonzero().squeeze(1)  # (R,)
        with trainer.autocast():
            x = trainer.image_features(images.to(trainer.device))
            features = None if trainer.conditional else self.class_features[rows]
            return trainer.class_logits(x, features, rows).float()


class NewTaskPredictor(RunPredictor):
    """A run on a task that it was not trained on, beside hand-made prompts and, if possible, the mean of both."""

    def __init__(self, trainer: PromptTrainer) -> None:
        super().__init__(trainer)
        self.heads = new_task_heads(trainer)
        self.method = type(trainer).__name__

    @torch.no_grad()
    def scores(self, images: Tensor, task: str) -> dict[str, Tensor]:
        trainer, result = self.trainer, {}
        with trainer.autocast():
            x = trainer.clip.encode_image(images.to(trainer.device))  # of the untouched tower
        logits = {name: head(x) for name, head in self.heads.items()}
        if "context" in logits:
            result[self.method] = logits.pop("context")
        elif trainer.learned.state_dict():
            result[self.method] = self.logits(images, task)
        return {name: values.float().softmax(1).cpu() for name, values in (result | logits).items()}

    def legend(self) -> str:
        """What the sources are."""
        template = self.trainer.tasks[0].template
        own = "the context that it generates from the task's name" if self.method == "SoftCPT" else "as it was trained"
        parts = [f'zero-shot: the hand-made prompt "{template}"']
        if self.trainer.learned.state_dict():
            parts.insert(0, f"{self.method}: {own}, never trained on this task")
        if "average" in self.heads:
            parts.append("average: the mean of the two after normalisation")
        return "; ".join(parts)


class ExportPredictor:
    """An exported classifier."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier, self.transform = classifier, classifier.transform
        self.upright = classifier.export.upright
        self.tasks = classifier.tasks
        self.classes_ = {task: list(names) for task, names in classifier.classes_.items()}

    def scores(self, images: Tensor, task: str) -> dict[str, Tensor]:
        return {"": self.classifier.logits(self.classifier.features(images), task).softmax(1).cpu()}
