"""From a config to data loaders."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torchvision.transforms as T
from dassl.utils import read_image
from tabulate import tabulate
from torch.utils.data import DataLoader, Dataset
from yacs.config import CfgNode

from .datasets import build_dataset
from .datasets.base_dataset import Datum
from .samplers import build_sampler
from .transforms import build_transform, interpolation_mode

__all__ = ["DataManager", "DatasetWrapper", "build_data_loader"]

logger = logging.getLogger(__name__)


def build_data_loader(
    cfg: CfgNode,
    sampler_type: str = "SequentialSampler",
    data_source: list[Datum] | None = None,
    batch_size: int = 64,
    n_domain: int = 0,
    n_ins: int = 2,
    tfm: Callable | Sequence[Callable] | None = None,
    is_train: bool = True,
    dataset_wrapper: type[Dataset] | None = None,
) -> DataLoader:
    """A loader over `data_source` of batches with the keys label, domain, impath, index and img.

    An incomplete last batch is dropped in training, unless it is the only one.
    Raises ValueError when there are no images.
    """
    if not data_source:
        raise ValueError(f"The {'training' if is_train else 'evaluation'} set has no images")
    sampler = build_sampler(
        sampler_type, cfg=cfg, data_source=data_source, batch_size=batch_size, n_domain=n_domain, n_ins=n_ins
    )
    wrapper = dataset_wrapper or DatasetWrapper
    # Workers live for one epoch: only then do their generators follow from the main process's state, which is what
    # makes a resumed run draw the same views.
    return DataLoader(
        wrapper(cfg, data_source, transform=tfm, is_train=is_train),
        batch_size=batch_size,
        sampler=sampler,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        drop_last=is_train and len(data_source) >= batch_size,
        pin_memory=torch.cuda.is_available() and cfg.USE_CUDA,
    )


class DataManager:
    """Data set and loaders of a config.

    Args:
        cfg: the whole config.
        custom_tfm_train, custom_tfm_test: used instead of the transforms that `cfg.INPUT` names; a sequence of
            transforms yields img, img2, img3, ...
        dataset_wrapper: used instead of `DatasetWrapper`.

    Attributes:
        dataset, train_loader_x, train_loader_u (or None), val_loader (or None), test_loader.
    """

    def __init__(
        self,
        cfg: CfgNode,
        custom_tfm_train: Callable | Sequence[Callable] | None = None,
        custom_tfm_test: Callable | Sequence[Callable] | None = None,
        dataset_wrapper: type[Dataset] | None = None,
    ) -> None:
        dataset = build_dataset(cfg)
        tfm_train = build_transform(cfg, is_train=True) if custom_tfm_train is None else custom_tfm_train
        tfm_test = build_transform(cfg, is_train=False) if custom_tfm_test is None else custom_tfm_test

        def train_loader(data_source: list[Datum], settings: CfgNode) -> DataLoader:
            return build_data_loader(
                cfg,
                sampler_type=settings.SAMPLER,
                data_source=data_source,
                batch_size=settings.BATCH_SIZE,
                n_domain=settings.N_DOMAIN,
                n_ins=settings.N_INS,
                tfm=tfm_train,
                is_train=True,
                dataset_wrapper=dataset_wrapper,
            )

        def test_loader(data_source: list[Datum]) -> DataLoader:
            return build_data_loader(
                cfg,
                sampler_type=cfg.DATALOADER.TEST.SAMPLER,
                data_source=data_source,
                batch_size=cfg.DATALOADER.TEST.BATCH_SIZE,
                tfm=tfm_test,
                is_train=False,
                dataset_wrapper=dataset_wrapper,
            )

        settings_x, settings_u = cfg.DATALOADER.TRAIN_X, cfg.DATALOADER.TRAIN_U
        settings_u = settings_x if settings_u.SAME_AS_X else settings_u
        self.dataset = dataset
        self.train_loader_x = train_loader(dataset.train_x, settings_x)
        self.train_loader_u = train_loader(dataset.train_u, settings_u) if dataset.train_u else None
        self.val_loader = test_loader(dataset.val) if dataset.val else None
        self.test_loader = test_loader(dataset.test)
        self._num_source_domains = len(cfg.DATASET.SOURCE_DOMAINS)
        if cfg.VERBOSE:
            self.show_dataset_summary(cfg)

    @property
    def num_classes(self) -> int:
        return self.dataset.num_classes

    @property
    def num_source_domains(self) -> int:
        return self._num_source_domains

    @property
    def lab2cname(self) -> dict[int, str]:
        return self.dataset.lab2cname

    def show_dataset_summary(self, cfg: CfgNode) -> None:
        """Log a table of the data set's name, domains and sizes."""
        rows: list[list[Any]] = [["Dataset", cfg.DATASET.NAME]]
        if cfg.DATASET.SOURCE_DOMAINS:
            rows.append(["Source", cfg.DATASET.SOURCE_DOMAINS])
        if cfg.DATASET.TARGET_DOMAINS:
            rows.append(["Target", cfg.DATASET.TARGET_DOMAINS])
        rows.append(["# classes", f"{self.num_classes:,}"])
        for name in ("train_x", "train_u", "val", "test"):
            items = getattr(self.dataset, name)
            if items:
                rows.append([f"# {name}", f"{len(items):,}"])
        logger.info("%s", tabulate(rows))


class DatasetWrapper(Dataset):
    """A list of Datum objects as a PyTorch data set; an item is a dict of label, domain, impath, index and img.

    With several transforms there are img, img2, ...; with `DATALOADER.K_TRANSFORMS` k > 1 each is a list of k views of
    a training image; with `DATALOADER.RETURN_IMG0` there is also img0, the image without augmentation.
    """

    def __init__(
        self,
        cfg: CfgNode,
        data_source: list[Datum],
        transform: Callable | Sequence[Callable] | None = None,
        is_train: bool = False,
    ) -> None:
        self.cfg = cfg
        self.data_source = data_source
        self.transform = transform
        self.is_train = is_train
        self.k_tfm = cfg.DATALOADER.K_TRANSFORMS if is_train else 1
        self.return_img0 = cfg.DATALOADER.RETURN_IMG0
        if self.k_tfm > 1 and transform is None:
            raise ValueError(f"DATALOADER.K_TRANSFORMS is {self.k_tfm}, but there is no transform to repeat")
        plain = [T.Resize(cfg.INPUT.SIZE, interpolation=interpolation_mode(cfg)), T.ToTensor()]
        if "normalize" in cfg.INPUT.TRANSFORMS:
            plain.append(T.Normalize(mean=cfg.INPUT.PIXEL_MEAN, std=cfg.INPUT.PIXEL_STD))
        self.to_tensor = T.Compose(plain)

    def __len__(self) -> int:
        return len(self.data_source)

    def __getitem__(self, idx: int) -> dict[str, Any]:
        item = self.data_source[idx]
        image = read_image(item.impath)
        output = {"label": item.label, "domain": item.domain, "impath": item.impath, "index": idx}
        if self.transform is None:
            output["img"] = image
        else:
            transforms = self.transform if isinstance(self.transform, list | tuple) else [self.transform]
            for number, transform in enumerate(transforms, start=1):
                output["img" if number == 1 else f"img{number}"] = self._views(transform, image)
        if self.return_img0:
            output["img0"] = self.to_tensor(image)
        return output

    def _views(self, transform: Callable, image: Any) -> Any:
        views = [transform(image) for _ in range(self.k_tfm)]
        return views[0] if self.k_tfm == 1 else views
