"""Augmented views of training images, which depend on seed, image and epoch alone, whichever process reads them."""

import contextlib
import hashlib
import os
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from softcpt.files import start_method
from softcpt.images.read import read_image
from softcpt.placement import to_device

from ..distributed import gather_parts
from .feature_cache import Encode, FeatureCache, image_list, progress_bar
from .sharding import part_of

ENCODED_AT_ONCE = 256  # images, at most: a training batch of features may be larger


@contextlib.contextmanager
def view_generators(seed: int, image: str, view: int) -> Iterator[None]:
    """A context in which the generators of Python and PyTorch start from (seed, image, view)."""
    digest = hashlib.blake2b(f"{seed} {image} {view}".encode(), digest_size=6).digest()
    state = random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int.from_bytes(digest, "big"))  # not those of the GPUs
        random.seed(digest)
        try:
            yield
        finally:
            random.setstate(state)


def image_name(item: Any, root: str) -> str:
    """The path of a Datum's image below the folder of the data sets, which is the same on every machine."""
    return os.path.relpath(item.impath, os.path.abspath(os.path.expanduser(root))).replace(os.sep, "/")


class SeededViews(Dataset):
    """A training set of `Pictures`, with an augmentation that depends on (seed, image, epoch) alone.

    So a run sees the same views with any number of workers and processes, and after it is resumed.
    """

    def __init__(self, dataset: Dataset, seed: int, root: str) -> None:
        self.dataset, self.seed, self.root = dataset, seed, root
        self.data_source = dataset.data_source
        self.epoch = torch.zeros(1, dtype=torch.long).share_memory_()  # shared with persistent workers

    def set_epoch(self, epoch: int) -> None:
        self.epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        with view_generators(self.seed, image_name(self.data_source[index], self.root), int(self.epoch)):
            return self.dataset[index]


def seeded_loader(loader: DataLoader, seed: int, root: str) -> DataLoader:
    """A training loader of `Pictures` with `SeededViews` and persistent workers."""
    return DataLoader(
        SeededViews(loader.dataset, seed, root),
        batch_size=loader.batch_size,
        sampler=loader.sampler,
        num_workers=loader.num_workers,
        multiprocessing_context=start_method(loader.num_workers),
        drop_last=loader.drop_last,
        pin_memory=loader.pin_memory,
        persistent_workers=loader.num_workers > 0,
        generator=torch.Generator(),  # of the workers' seeds: the global one must not depend on their number
    )


class ViewImages(Dataset):
    """`views` augmented views of each of `items`, as (views, 3, H, W); a view depends on (seed, image, view) alone."""

    def __init__(
        self, items: Sequence[Any], transform: Callable, upright: bool, views: int, seed: int, root: str
    ) -> None:
        self.items, self.transform, self.upright = items, transform, upright
        self.views, self.seed, self.root = views, seed, root

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Tensor:
        item = self.items[index]
        image, name, views = read_image(item.impath, self.upright), image_name(item, self.root), []
        for view in range(self.views):
            with view_generators(self.seed, name, view):
                views.append(self.transform(image))
        return torch.stack(views)


class ViewFeatures(Dataset):
    """A training set of features in place of images: `features` (N, views, ...), of which `view` is in use.

    It reads whole batches, which a loader need not collate: the features of a batch are indexed where they lie, on
    `device` unless they would take more than a quarter of the memory that is free there.
    """

    def __init__(self, items: Sequence[Any], features: Tensor, device: torch.device) -> None:
        fits = device.type != "cuda" or 4 * features.nbytes <= torch.cuda.mem_get_info(device)[0]
        self.items, self.features = items, features.to(device) if fits else features
        self.labels, self.domains = (
            torch.tensor([getattr(item, key) for item in items]) for key in ("label", "domain")
        )
        self.view = 0

    def set_epoch(self, epoch: int) -> None:
        self.view = epoch % self.features.shape[1]

    def __len__(self) -> int:
        return len(self.items)

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Any]:
        index = torch.tensor(indices)
        image = self.features[to_device(index, self.features.device), self.view]
        paths = [self.items[i].impath for i in indices]
        return {
            "label": self.labels[index],
            "domain": self.domains[index],
            "impath": paths,
            "index": index,
            "img": image,
        }


def as_it_is(batch: dict[str, Any]) -> dict[str, Any]:
    """The collate function of a dataset that reads whole batches."""
    return batch


def view_loader(
    loader: DataLoader,
    encode: Encode,
    cache: FeatureCache,
    key: dict[str, Any],
    views: int,
    seed: int,
    root: str,
    device: torch.device,
) -> DataLoader:
    """A training loader of `Pictures`, with features (B, E) of `views` fixed augmented views as images, on `device` if
    they fit there.

    Its sampler, batch size and order are the loader's own; `dataset.set_epoch` chooses the view.
    """
    items, transform, upright = (getattr(loader.dataset, name) for name in ("data_source", "transform", "upright"))

    def encode_all() -> Tensor:
        images = DataLoader(
            ViewImages(items, transform, upright, views, seed, root),
            batch_size=max(1, min(loader.batch_size, ENCODED_AT_ONCE) // views),
            num_workers=loader.num_workers,
        )
        # A loader draws a seed from the global generator, but training must not depend on the cache.
        with torch.random.fork_rng(devices=[]):
            batches = progress_bar(part_of(images), f"features of {views} views")
            return gather_parts([encode(batch.flatten(0, 1)).cpu().unflatten(0, (-1, views)) for batch in batches])

    key = {**key, "transform": str(transform), "images": image_list(items), "views": views, "seed": seed}
    key["names"] = image_name(items[0], root)  # those of the others follow
    features = cache.get(key, (len(items), views, -1), encode_all)
    return DataLoader(
        ViewFeatures(items, features, device),
        batch_size=loader.batch_size,
        sampler=loader.sampler,
        collate_fn=as_it_is,
        drop_last=loader.drop_last,
        generator=torch.Generator(),
    )
