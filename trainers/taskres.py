"""TaskRes: a learned residual on each class's text feature."""

from collections.abc import Sequence

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn

from softcpt.backbones import CLIP
from softcpt.prompts.owners import register_owners
from softcpt.tasks import Task

from .base import PromptTrainer
from .engine.checks import ABOVE_0


class TaskResiduals(nn.Module):
    """x (C, E), zero at the start: a row for each of the classes `names`."""

    def __init__(self, names: Sequence[str], n_features: int) -> None:
        super().__init__()
        self.residual = nn.Parameter(torch.zeros(len(names), n_features))
        register_owners(self, names)


@TRAINER_REGISTRY.register()
class TaskRes(PromptTrainer):
    """Task residual tuning: Yu, Lu, Jin, Chen, Wang. Task Residual for Tuning Vision-Language Models. CVPR 2023,
    arXiv 2211.10277.

    The classifier is CLIP's own, the text features t of the class names in their task's template, plus a scaled
    residual: t' = t + alpha x. Training encodes no text. Each class has a row x of its own, so the tasks share nothing,
    and there is none for a class that was not trained on.
    """

    defaults = {
        "ALPHA": 0.5,  # scale of the residual; the paper has 1 for Flowers102
        "TEMPLATE": "",  # of the class names, for all tasks; empty: each task's own
    }
    legal = {"ALPHA": ABOVE_0}

    def build_learned(self, model: CLIP, tasks: Sequence[Task]) -> TaskResiduals:
        self.base = self.zero_shot_features(self.options.TEMPLATE)  # t (C, E), not normalised
        return TaskResiduals(self.classnames, self.base.shape[1])

    def text_features(self, classes: Tensor | None = None) -> Tensor:
        features = self.base + self.options.ALPHA * self.learned.residual  # t' = t + alpha x
        return features if classes is None else features[classes]
