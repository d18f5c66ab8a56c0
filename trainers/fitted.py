"""Base of the methods that fit a classifier to the image features of the shots, without a training loop."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from dassl.data.data_manager import build_data_loader
from torch import Tensor, nn

from .base import PromptTrainer
from .modules import distributed
from .modules.checkpoints import register_owners
from .modules.features import FeatureLoader


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
    """Base of LinearProbe and ProtoNet. A method overrides `fit`, which fills its `Classifier`; the features are of
    the test transform, so that they come from the cache, and the whole training takes seconds.
    """

    learns_by_gradient = False

    def build_model(self) -> None:
        super().build_model()
        self.max_epoch = 0  # for the record: there are no epochs

    def features_of(self, items: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Image features (N, E), fp32 and not normalised, and global labels (N,) of the Datum `items`."""
        loader = build_data_loader(
            self.cfg,
            sampler_type="SequentialSampler",
            data_source=items,
            batch_size=self.cfg.DATALOADER.TEST.BATCH_SIZE,
            tfm=self.test_transform,
            is_train=False,
        )
        loader = FeatureLoader(loader, *self.caching) if self.cfg.FEATURES.TEST_CACHE else distributed.part_of(loader)
        batches = [(self._encode_batch(batch["img"]).float(), batch["label"]) for batch in loader]
        columns = ([batch[i] for batch in batches] for i in range(2))
        features, label = (distributed.gather_parts(column).to(self.device) for column in columns)
        return features, label

    def fit(self) -> None:
        """Fill `self.prompts` from the shots."""
        raise NotImplementedError

    def train(self) -> None:
        self.time_start, self._train_start = time.time(), time.perf_counter()
        self.fit()
        self.save_model(self.epoch, self.output_dir)
        self.after_train()
