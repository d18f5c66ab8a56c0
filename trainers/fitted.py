"""Classifiers that methods fit to the shots' image features, without a training loop."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from softcpt.backbones import CLIP, Head
from softcpt.prompts.owners import register_owners
from softcpt.tasks import Task

from .base import PromptTrainer


class Classifier(nn.Module):
    """`weight` (C, ...), a row per class.

    Args:
        weight: a parameter if its entries are learned, or a tensor.
        classnames: the C names.
    """

    def __init__(self, weight: Tensor, classnames: Sequence[str]) -> None:
        super().__init__()
        if isinstance(weight, nn.Parameter):
            self.weight = weight
        else:
            self.register_buffer("weight", weight)
        register_owners(self, classnames)


class LinearClassifierTrainer(PromptTrainer):
    """Base of LinearProbe and LPPlusPlus: a class's weights and, last, its bias, (C, E + 1), on image features."""

    learns_by_gradient = False
    normalises = True  # the image features

    def build_learned(self, model: CLIP, tasks: Sequence[Task]) -> Classifier:
        weight = torch.zeros(len(self.classnames), model.embed_dim + 1)
        return Classifier(nn.Parameter(weight, requires_grad=False), self.classnames)

    def text_features(self, classes: Tensor | None = None) -> Tensor:
        """(R, E + 1): in place of text features, the fitted weights and biases."""
        return self.learned.weight if classes is None else self.learned.weight[classes]

    def logits(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        with torch.autocast(self.device.type, enabled=False):
            x = image_features.float()
            x = F.normalize(x, dim=-1) if self.normalises else x
            return x @ text_features[:, :-1].T + text_features[:, -1]

    def head(self, text_features: Tensor, task: int) -> Head:
        return Head(text_features[:, :-1], text_features[:, -1], normalised=self.normalises)
