"""Data loaders, and those of a whole config."""

import logging
import multiprocessing
from collections.abc import Callable
from typing import Any

import torch
from dassl.utils import read_image
from torch.utils.data import DataLoader, Dataset
from yacs.config import CfgNode

from .datasets import Datum, build_dataset
from .samplers import build_sampler
from .transforms import build_transform

logger = logging.getLogger(__name__)


class DatasetWrapper(Dataset):
    """Datum objects as a PyTorch data set: an item is a dict of label, domain, impath, index and img.

    Args:
        transform: from an RGB image to img; None leaves the image as it is.
        cfg, is_train: not needed here; Dassl's has them.
    """

    def __init__(
        self, cfg: CfgNode, data_source: list[Datum], transform: Callable | None = None, is_train: bool = False
    ) -> None:
        self.data_source = data_source
        self.transform = transform

    def __len__(self) -> int:
        return len(self.data_source)

    def __getitem__(self, idx: int) -> dict[str, Any]:
        item = self.data_source[idx]
        image = read_image(item.impath)
        image = image if self.transform is None else self.transform(image)
        return {"label": item.label, "domain": item.domain, "impath": item.impath, "index": idx, "img": image}


def build_data_loader(
    cfg: CfgNode,
    sampler_type: str = "SequentialSampler",
    data_source: list[Datum] | None = None,
    batch_size: int = 64,
    n_domain: int = 0,
    tfm: Callable | None = None,
    is_train: bool = True,
) -> DataLoader:
    """A loader of batches of `DatasetWrapper`'s items.

    An incomplete last batch is dropped in training, unless it is the only one.
    Raises ValueError when there are no images.
    """
    if not data_source:
        raise ValueError(f"The {'training' if is_train else 'evaluation'} set has no images")
    workers = cfg.DATALOADER.NUM_WORKERS
    # From Python 3.14 on, Linux starts workers from a server, which imports PyTorch anew. Forks are as before.
    method = "fork" if workers and multiprocessing.get_start_method() == "forkserver" else None
    # Workers live for one epoch: their random states then follow from the main process's, and a resumed run draws the
    # same views.
    return DataLoader(
        DatasetWrapper(cfg, data_source, tfm, is_train),
        batch_size=batch_size,
        sampler=build_sampler(sampler_type, data_source, batch_size, n_domain),
        num_workers=workers,
        multiprocessing_context=method,
        drop_last=is_train and len(data_source) >= batch_size,
        pin_memory=cfg.USE_CUDA and torch.cuda.is_available(),
    )


class DataManager:
    """The data set and loaders of a config.

    Args:
        custom_tfm_train, custom_tfm_test: take the place of the transforms that `cfg.INPUT` names.

    Attributes:
        dataset, train_loader_x, test_loader; val_loader, None without validation images; train_loader_u, always None.
        num_classes, lab2cname: of the data set.
        num_source_domains: the number of names in `DATASET.SOURCE_DOMAINS`.
    """

    def __init__(
        self, cfg: CfgNode, custom_tfm_train: Callable | None = None, custom_tfm_test: Callable | None = None
    ) -> None:
        self.dataset = dataset = build_dataset(cfg)
        self.num_classes, self.lab2cname = dataset.num_classes, dataset.lab2cname
        self.num_source_domains = len(cfg.DATASET.SOURCE_DOMAINS)
        train, test = cfg.DATALOADER.TRAIN_X, cfg.DATALOADER.TEST
        transform = custom_tfm_train or self._built(cfg, "Training", is_train=True)
        self.train_loader_x = build_data_loader(
            cfg, train.SAMPLER, dataset.train_x, train.BATCH_SIZE, train.N_DOMAIN, transform, is_train=True
        )
        self.train_loader_u = None  # of unlabelled images, which no method of the family learns from
        transform = custom_tfm_test or self._built(cfg, "Test", is_train=False)

        def test_loader(items: list[Datum] | None) -> DataLoader:
            return build_data_loader(cfg, test.SAMPLER, items, test.BATCH_SIZE, tfm=transform, is_train=False)

        self.val_loader = test_loader(dataset.val) if dataset.val else None
        self.test_loader = test_loader(dataset.test)
        if cfg.VERBOSE:
            sizes = ((name, getattr(dataset, name)) for name in ("train_x", "val", "test"))
            counts = ", ".join(f"{len(items):,} {name}" for name, items in sizes if items)
            logger.info("%s: %s classes, images: %s", cfg.DATASET.NAME, f"{self.num_classes:,}", counts)

    @staticmethod
    def _built(cfg: CfgNode, name: str, is_train: bool) -> Callable | None:
        transform = build_transform(cfg, is_train)
        logger.info("%s transform: %s", name, transform)
        return transform
