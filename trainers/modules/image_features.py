"""What a method reads: data, CLIP, and the features of images, from a cache where the image tower is frozen."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from dassl.data import DataManager
from dassl.data.data_manager import build_data_loader
from dassl.data.transforms import build_transform
from torch import Tensor
from torchvision.transforms import ToTensor

from backbones import UNTUNED, Tuning, load_clip
from backbones.precision import Precision

from . import budget, distributed
from .features import FeatureCache, FeatureLoader
from .loop import Loop
from .memory import PeakMemory
from .preprocessing import OPENAI, filled, test_transform, with_preprocessing
from .views import view_loader

logger = logging.getLogger(__name__)


class ImageFeatures(Loop):
    """The loop with CLIP, data, and the features of images; `PromptTrainer` adds the classes."""

    feature_kind = "global"  # what `encode_image` makes of an image; methods of one kind share the cached features

    def build_data_loader(self) -> None:
        """Read the data, then CLIP, which says how images are to be shown to it. In this order, what is missing of the
        data is told before a large model is read. The training loader says what an epoch is."""
        cfg, self.memory = self.cfg, PeakMemory(self.device)
        self.dm = DataManager(filled(cfg, OPENAI), custom_tfm_train=ToTensor(), custom_tfm_test=ToTensor())
        for name in ("train_loader_x", "train_loader_u", "val_loader", "test_loader"):
            setattr(self, name, getattr(self.dm, name))
        for name in ("num_classes", "num_source_domains", "lab2cname"):
            setattr(self, name, getattr(self.dm, name))
        self.precision = Precision(self.options.PREC, self.device)
        self.autocast, self.scaler = self.precision.autocast, self.precision.scaler
        self.clip = load_clip(cfg.MODEL.BACKBONE.NAME, self.precision.stored, self.cache_folder)
        self.cfg = with_preprocessing(cfg, self.clip.preprocessing)
        self.test_transform = test_transform(self.cfg)
        self.train_loader_x.dataset.transform = build_transform(self.cfg, is_train=True)
        for loader in (self.test_loader, self.val_loader):
            if loader is not None:
                loader.dataset.transform = self.test_transform
        if self.learns_by_gradient:
            self.cfg = budget.with_epochs(self.cfg, len(self.train_loader_x))
            self.max_epoch = self.cfg.OPTIM.MAX_EPOCH
        elif self.cfg.OPTIM.MAX_STEPS:
            logger.info("OPTIM.MAX_STEPS is ignored: %s makes no optimiser steps", type(self).__name__)

    @property
    def cache_folder(self) -> Path | None:
        """Where features and weights are kept for other runs; None where the config names no folder."""
        if self.cfg.FEATURES.DIR:
            return Path(self.cfg.FEATURES.DIR)
        return Path(self.cfg.OUTPUT_DIR).parent / "features" if self.cfg.OUTPUT_DIR else None

    def use_feature_cache(self) -> None:
        """Let evaluation, and with FEATURES.TRAIN_VIEWS training, read features of the image tower from a cache."""
        options = self.cfg.FEATURES
        self.tunes_images = bool(self.image_tuning())
        if options.TRAIN_VIEWS and self.tunes_images:
            raise ValueError(
                f"FEATURES.TRAIN_VIEWS: {options.TRAIN_VIEWS}, but {type(self).__name__} changes the image tower in "
                "every step, so no features can be cached; it must be 0"
            )
        cache = FeatureCache(self.cache_folder or "features", self.memory.set_aside)
        key = {"features": self.feature_kind, "precision": self.precision.name, "device": self.device.type}
        test_cache = options.TEST_CACHE and not self.tunes_images
        if test_cache or options.TRAIN_VIEWS:
            key["tower"] = self.clip.image_digest
        self.caching = self._encode_batch, cache, key
        for name in ("test_loader", "val_loader"):
            loader = getattr(self, name)
            if loader is not None:
                cached = FeatureLoader(loader, *self.caching) if test_cache else distributed.part_of(loader)
                setattr(self, name, cached)

    def _encode_batch(self, image: Tensor) -> Tensor:
        with self.autocast():
            return self.image_features(image.to(self.device))

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

    def view_features(self, views: int) -> Tensor:
        """(N, views, E) of augmented views of the N training images, in the order of the data set; fp32, not
        normalised. They are those that FEATURES.TRAIN_VIEWS shows, as far as these go."""
        loader, cfg = self.dm.train_loader_x, self.cfg
        drawn = max(views, cfg.FEATURES.TRAIN_VIEWS)
        features = view_loader(loader, *self.caching, drawn, cfg.SEED, cfg.DATASET.ROOT).dataset.features
        return features[:, :views].float().to(self.device)

    def image_tuning(self) -> Tuning:
        """What training adds to the layers of the image tower. Where it is nothing, which stays so, image features are
        kept in caches and no gradient runs through the tower."""
        return UNTUNED

    def image_projection(self) -> tuple[Tensor, Tensor | None] | None:
        """The linear map (W, E) and its bias that take the place of the image tower's projection; None for its own."""
        return None

    def image_features(self, image: Tensor) -> Tensor:
        """(B, E) of images (B, 3, H, W), not normalised; features from the cache stay as they are."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.tunes_images):
            return self.encode_image(image) if image.dim() == 4 else image

    def encode_image(self, image: Tensor) -> Tensor:
        return self.clip.encode_image(image, self.image_tuning())
