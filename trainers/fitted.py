"""Base of the methods that fit a classifier to the shots' image features, without a training loop."""

import time
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from softcpt.backbones import CLIP, Head
from softcpt.prompts.owners import register_owners
from softcpt.tasks import Task
from trainers.engine.choosing import check_choices

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


class FittedTrainer(PromptTrainer):
    """Base of LinearProbe, ProtoNet, TipAdapter and LPPlusPlus. A method overrides `fit`, which fills its module of
    parameters from cached image features, so that the whole training takes seconds.
    """

    learns_by_gradient = False

    def text_features(self, rows: Tensor | None = None) -> Tensor:
        """(R, ...): in place of text features, what was fitted for each class."""
        return self.prompts.weight if rows is None else self.prompts.weight[rows]

    def fit(self) -> None:
        """Fill `self.prompts` from the shots."""
        raise NotImplementedError

    def train(self) -> None:
        self.time_start, self._train_start = time.time(), time.perf_counter()
        self.max_epoch = 0  # for the record of the run
        check_choices(self)
        self.fit()
        self.save_model(self.epoch, self.output_dir)
        self.after_train()


class LinearClassifierTrainer(FittedTrainer):
    """Base of LinearProbe and LPPlusPlus: a class's weights and, last, its bias, (C, E + 1), on image features."""

    normalises = True  # the image features

    def build_prompts(self, model: CLIP, tasks: Sequence[Task]) -> Classifier:
        weight = torch.zeros(len(self.classnames), model.embed_dim + 1)
        return Classifier(nn.Parameter(weight, requires_grad=False), self.classnames)

    def logits(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        with torch.autocast(self.device.type, enabled=False):
            x = image_features.float()
            x = F.normalize(x, dim=-1) if self.normalises else x
            return x @ text_features[:, :-1].T + text_features[:, -1]

    def head(self, text_features: Tensor, task: int) -> Head:
        return Head(text_features[:, :-1], text_features[:, -1], normalised=self.normalises)
