"""Zero-shot CLIP beside a method, on the image features that its test computes anyway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from backbones import CLIP
from datasets.multitask import Task
from datasets.prompt_checks import alike

from .templates import hand_made_features
from .text_encoder import TextEncoder


class ZeroShot:
    """The hand-made prompts of the tasks, judged by an evaluator of their own.

    Nothing is chosen by them: they show after the test which tasks did not gain from training.

    Attributes:
        features: (C, E), fp32, not normalised.
        evaluator: has the logits of these features, as the method's has the method's.
    """

    def __init__(self, tasks: Sequence[Task], model: CLIP, encoder: TextEncoder, evaluator: Any) -> None:
        self.tasks, self.evaluator = tasks, evaluator
        self.features = hand_made_features(tasks, "", model, encoder)

    def judge(self, image_features: Tensor, label: Tensor) -> None:
        """Count a batch: image_features (B, E), label (B,) global. The scale of the cosines changes no prediction."""
        with torch.autocast(image_features.device.type, enabled=False):
            cosine = F.normalize(image_features.float(), dim=-1) @ F.normalize(self.features, dim=-1).T
        self.evaluator.process(cosine, label)

    def warnings(self) -> list[str]:
        """Classes that no prompt of this CLIP can tell apart by their names."""
        found = []
        for task, features in zip(self.tasks, self.features.split([len(task.classnames) for task in self.tasks])):
            found += [f"task {task.name}: {pair}" for pair in alike(features, task.classnames)]
        return found
