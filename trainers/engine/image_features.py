"""How a trainer's images are read, and features of the frozen image tower: of the test and of augmented views, which
other runs share in a cache."""

import logging
from collections.abc import Sequence
from typing import Any

from dassl.data.data_manager import build_data_loader
from dassl.data.transforms import build_transform
from torch import Tensor

from softcpt import distributed
from softcpt.images.feature_cache import FeatureCache, FeatureLoader
from softcpt.images.loading import picture_loader
from softcpt.images.sharding import part_of
from softcpt.images.views import view_loader

from .preprocessing import for_loaders, test_transform

logger = logging.getLogger(__name__)

LOADERS = ("train_loader_x", "val_loader", "test_loader")


def set_transforms(dm: Any, cfg: Any) -> Any:
    """Let the loaders of a DataManager read pictures with the transforms of a config; returns the test's."""
    test = test_transform(cfg)
    transforms = build_transform(cfg, is_train=True), test, test
    turned = ", of pictures turned as their EXIF entries say" if cfg.INPUT.UPRIGHT else ""
    for name, transform in zip(("Training", "Test"), transforms):
        logger.info("%s transform: %s%s", name, transform, turned)
    for name, transform in zip(LOADERS, transforms):
        loader = getattr(dm, name)
        if loader is not None:
            setattr(dm, name, picture_loader(loader, transform, cfg.INPUT.UPRIGHT, cfg.TRAIN.DROP_LAST))
    return test


def caching_of(trainer: Any) -> tuple[Any, FeatureCache, dict[str, Any]]:
    """What computes the features of a batch, the cache that keeps them, and the key of a trainer's own features.

    Raises ValueError for FEATURES.TRAIN_VIEWS with an image tower that changes.
    """
    cfg = trainer.cfg
    if cfg.FEATURES.TRAIN_VIEWS and trainer.tunes_images:
        raise ValueError(
            f"FEATURES.TRAIN_VIEWS: {cfg.FEATURES.TRAIN_VIEWS}, but {type(trainer).__name__} changes the image tower "
            "in every step, so no features can be cached; it must be 0"
        )
    cache = FeatureCache(trainer.cache_folder or "features", trainer.memory.set_aside)
    key = {"features": trainer.feature_kind, "precision": trainer.precision.earlier_name, "device": trainer.device.type}
    if cfg.INPUT.UPRIGHT:  # else the key is that of versions that turned no image
        key["upright"] = True
    if cfg.FEATURES.TEST_CACHE and not trainer.tunes_images or cfg.FEATURES.TRAIN_VIEWS:
        key["tower"] = trainer.clip.image_digest
    return trainer.encode_batch, cache, key


def cached(trainer: Any, loader: Any) -> Any:
    """A loader of images as one of their features, if these are cached; None for None."""
    if loader is None:
        return None
    if trainer.cfg.FEATURES.TEST_CACHE and not trainer.tunes_images:
        return FeatureLoader(loader, *trainer.caching)
    return part_of(loader)


def features_of(trainer: Any, items: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """Image features (N, E), fp32 and not normalised, and global labels (N,) of the Datum `items`."""
    cfg, transform = trainer.cfg, trainer.test_transform
    size = cfg.DATALOADER.TEST.BATCH_SIZE
    loader = build_data_loader(for_loaders(cfg), data_source=items, batch_size=size, tfm=transform, is_train=False)
    loader = cached(trainer, picture_loader(loader, transform, cfg.INPUT.UPRIGHT))
    batches = [(trainer.encode_batch(batch["img"]).float(), batch["label"]) for batch in loader]
    columns = ([batch[i] for batch in batches] for i in range(2))
    features, label = (distributed.gather_parts(column).to(trainer.device) for column in columns)
    return features, label


def views_of(trainer: Any, loader: Any, count: int) -> Any:
    """A training loader as one of the features of `count` augmented views."""
    return view_loader(loader, *trainer.caching, count, trainer.cfg.SEED, trainer.cfg.DATASET.ROOT, trainer.device)
