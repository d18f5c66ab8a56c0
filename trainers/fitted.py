"""Base of the methods that fit a classifier to the image features of the shots, without a training loop."""

from __future__ import annotations

import time
from collections.abc import Sequence

from torch import Tensor, nn

from .base import PromptTrainer
from .modules.checkpoints import register_owners


class Classifier(nn.Module):
    """What a method fits: `weight` (C, ...), a row per class.

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
    parameters from features; those come from a cache, so that the whole training takes seconds.
    """

    learns_by_gradient = False

    def build_model(self) -> None:
        super().build_model()
        self.max_epoch = 0  # for the record: there are no epochs

    def fit(self) -> None:
        """Fill `self.prompts` from the shots."""
        raise NotImplementedError

    def train(self) -> None:
        self.time_start, self._train_start = time.time(), time.perf_counter()
        self.fit()
        self.save_model(self.epoch, self.output_dir)
        self.after_train()
