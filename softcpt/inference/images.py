"""Images to classify: finding, reading and batching them."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
import torchvision.transforms as T
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from softcpt.backbones.config import Preprocessing
from softcpt.backbones.pixels import resizing
from softcpt.files import start_method
from softcpt.files.folders import folders_below
from softcpt.images.read import from_array, hint, is_image, rgb_of

Picture: TypeAlias = str | os.PathLike | Image.Image | np.ndarray
Images: TypeAlias = Picture | Sequence[Picture]


class Batch(NamedTuple):
    """Some of the requested images."""

    positions: list[int]  # of the images that could be read
    images: Tensor  # (B, 3, H, W)
    errors: list[tuple[int, str]]  # position and reason of each image that could not


def find_images(places: Sequence[Path]) -> list[Path]:
    """The files among `places` and the images in its folders, at any depth and without hidden ones; each real folder is
    searched once, whatever links lead to it.

    Raises FileNotFoundError for a missing place, or if there are no images.
    """
    images: list[Path] = []
    for place in places:
        if not place.exists():
            raise FileNotFoundError(f"no image or folder {place}")
        images += images_below(place) if place.is_dir() else [place]
    if not images:
        raise FileNotFoundError(f"no images in {', '.join(map(str, places))}")
    return list(dict.fromkeys(images))


def images_below(place: Path) -> list[Path]:
    """The images in a folder, sorted by their paths within it; also those that a plugin of Pillow would read, so that
    reading them says so."""
    names = ((folder, name) for folder in folders_below(place) for name in os.listdir(folder))
    inside = [folder / name for folder, name in names if is_image(name) or hint(name) and not name.startswith(".")]
    return sorted((path for path in inside if path.is_file()), key=str)


def listed(images: Images) -> list[Picture]:
    """One image, or several, as a list; an array (B, H, W, ...) is several.

    Raises ValueError, with shape and dtype, for an array of anything but pixels in uint8.
    """
    one = isinstance(images, Image.Image | str | os.PathLike)
    one |= isinstance(images, np.ndarray) and images.dtype.kind not in "OU" and images.ndim < 4
    given: Any = images
    found = [given] if one else list(given)
    for image in found:
        if isinstance(image, np.ndarray):
            from_array(image)
        elif not isinstance(image, Image.Image | str | os.PathLike):
            raise ValueError(f"{type(image).__name__} is no image: paths, Pillow images and arrays of uint8 are")
    return found


def transform_of(preprocessing: Preprocessing) -> Callable[[Image.Image], Tensor]:
    """The function that makes a tensor (3, H, W) from an RGB image."""
    steps = resizing(preprocessing)
    return T.Compose([*steps, T.ToTensor(), T.Normalize(preprocessing.mean, preprocessing.std)])


def image_batches(
    images: Sequence[Picture],
    transform: Callable[[Image.Image], Tensor],
    upright: bool,
    batch_size: int = 64,
    workers: int = 0,
) -> Iterator[Batch]:
    """All images in batches, in their order, if `upright` turned as their EXIF entries say. Worker processes read them
    if there is more than one batch."""
    workers = workers if len(images) > batch_size else 0
    collate = partial(_batch, transform, upright)
    options = {"num_workers": workers, "multiprocessing_context": start_method(workers), "collate_fn": collate}
    yield from DataLoader(list(enumerate(images)), batch_size, **options)


def _batch(transform: Callable, upright: bool, items: Sequence[tuple[int, Picture]]) -> Batch:
    """Load some images. Errors are values here, because an exception from a worker process arrives as its traceback."""
    batch = Batch([], torch.empty(0), [])
    tensors = []
    for position, item in items:
        try:
            tensors.append(transform(rgb_of(item, upright)))
            batch.positions.append(position)
        except (OSError, ValueError) as error:
            batch.errors.append((position, str(error)))
    return batch._replace(images=torch.stack(tensors)) if tensors else batch
