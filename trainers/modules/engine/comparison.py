"""Zero-shot CLIP beside a method, on the image features that the method's test computes anyway."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from backbones import CLIP
from datasets.multitask import Task
from datasets.prompt_checks import alike

from ..distributed import rank
from ..prompts.encoder import TextEncoder
from ..prompts.hand_made import hand_made_features


class ZeroShot:
    """The hand-made prompts of the tasks, with an evaluator of their own. They show after the test which tasks did not
    gain from training; nothing is chosen by them.

    Attributes:
        features: (C, E), fp32, not normalised.
        evaluator: counts the predictions of these features.
    """

    def __init__(self, tasks: Sequence[Task], model: CLIP, encoder: TextEncoder, evaluator: Any) -> None:
        self.tasks, self.evaluator = tasks, evaluator
        self.features = hand_made_features(tasks, "", model, encoder)

    def judge(self, image_features: Tensor, label: Tensor) -> None:
        """Count a batch: image_features (B, E), label (B,) global. Unscaled cosines make the same predictions."""
        with torch.autocast(image_features.device.type, enabled=False):
            cosine = F.normalize(image_features.float(), dim=-1) @ F.normalize(self.features, dim=-1).T
        self.evaluator.process(cosine, label)

    def warnings(self) -> list[str]:
        """Pairs of classes whose names this CLIP cannot tell apart."""
        found = []
        for task, features in zip(self.tasks, self.features.split([len(task.classnames) for task in self.tasks])):
            found += [f"task {task.name}: {pair}" for pair in alike(features, task.classnames)]
        return found


def warnings_after_test(evaluator: Any, zero_shot: ZeroShot | None) -> list[str]:
    """What to warn of after the last test, on the first rank; all ranks call it, since results are gathered."""
    values = zero_shot.evaluator.task_values() if zero_shot else None
    if rank() != 0:
        return []
    found = zero_shot.warnings() if zero_shot else []
    return found + list(evaluator.weak_tasks(values) if hasattr(evaluator, "weak_tasks") else ())
