"""Users' own images, of any mode: finding, reading and batching them."""

import glob
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torchvision.transforms as T
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import InterpolationMode

from backbones.config import Preprocessing

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif")
PROGRAMS = ("EPS",)  # formats that Pillow decodes by running another program
NO_RANGE = {"I": "32-bit integer", "F": "floating-point"}  # modes whose pixels have no known range


class Batch(NamedTuple):
    """Some of the requested images."""

    positions: list[int]  # of the images that could be read
    images: Tensor  # (B, 3, H, W)
    errors: list[tuple[int, str]]  # position and reason of each image that could not


def find_images(places: Sequence[Path]) -> list[Path]:
    """The files among `places` and the images in its folders, at any depth and without hidden ones.

    Raises FileNotFoundError for a missing place, or if there are no images.
    """
    images: list[Path] = []
    for place in places:
        if not place.exists():
            raise FileNotFoundError(f"no image or folder {place}")
        inside = [place / name for name in sorted(glob.glob("**", root_dir=place, recursive=True)) if is_image(name)]
        images += [path for path in inside if path.is_file()] if place.is_dir() else [place]
    if not images:
        raise FileNotFoundError(f"no images in {', '.join(map(str, places))}")
    return list(dict.fromkeys(images))


def is_image(name: str) -> bool:
    return not os.path.basename(name).startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def read_image(path: str | os.PathLike) -> Image.Image:
    """An image file in RGB, turned as its EXIF entry says; of an animation, the first frame.

    Raises OSError, with the file, if it cannot be decoded or its pixels have no known range.
    """
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")  # on palettes with transparency, and on large images, which are read, too
            if image.format in PROGRAMS:
                raise ValueError(f"{image.format} is a program, not pixels")
            image.load()
            return to_rgb(upright(image))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no image {path}") from error
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        reason = str(error).replace(repr(os.fspath(path)), "it")
        raise OSError(f"cannot read the image {path} ({reason or type(error).__name__})") from error


def upright(image: Image.Image) -> Image.Image:
    """An image turned as its EXIF entry says; unchanged if that entry is damaged."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # for a damaged entry, Pillow raises a dozen types
        return image


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of any mode in RGB. Transparency is dropped, as in training.

    Raises ValueError for a mode whose pixels have no known range.
    """
    if image.mode.startswith("I;16"):
        # Pillow would clip 16-bit grey at 255, so that nearly all of it is white.
        grey = np.asarray(image) >> 8
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.mode in NO_RANGE:
        raise ValueError(f"its pixels are {NO_RANGE[image.mode]} numbers of unknown range: save it with 8 bits")
    return image.convert("RGB")


def transform_of(preprocessing: Preprocessing) -> Callable[[Image.Image], Tensor]:
    """The function that makes a tensor (3, H, W) from an RGB image."""
    size, mode = preprocessing.size, InterpolationMode(preprocessing.interpolation)
    if preprocessing.resize == "squash":
        steps: list[Callable] = [T.Resize(size, interpolation=mode)]
    else:
        steps = [T.Resize(max(size), interpolation=mode), T.CenterCrop(size)]
    return T.Compose([*steps, T.ToTensor(), T.Normalize(preprocessing.mean, preprocessing.std)])


def image_batches(
    images: Sequence[str | os.PathLike | Image.Image],
    transform: Callable[[Image.Image], Tensor],
    batch_size: int = 64,
    workers: int = 0,
) -> Iterator[Batch]:
    """All images in batches, in their order. Worker processes read them if there is more than one batch."""
    workers = workers if len(images) > batch_size else 0
    collate = partial(_batch, transform)
    yield from DataLoader(list(enumerate(images)), batch_size, num_workers=workers, collate_fn=collate)


def _batch(transform: Callable, items: Sequence[tuple[int, str | os.PathLike | Image.Image]]) -> Batch:
    """Load some images. Errors are values here, because an exception from a worker process arrives as its traceback."""
    batch = Batch([], torch.empty(0), [])
    tensors = []
    for position, item in items:
        try:
            image = to_rgb(item) if isinstance(item, Image.Image) else read_image(item)
            tensors.append(transform(image))
            batch.positions.append(position)
        except (OSError, ValueError) as error:
            batch.errors.append((position, str(error)))
    return batch._replace(images=torch.stack(tensors)) if tensors else batch
