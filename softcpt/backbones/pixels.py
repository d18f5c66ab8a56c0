"""From a picture to the pixels of one size that an image tower takes."""

from collections.abc import Callable

import torchvision.transforms as T
from PIL import Image
from torchvision.transforms import InterpolationMode

from .config import Preprocessing


class CentreCrop:
    """Crops the centre as transformers does: its upper left corner is rounded down, where torchvision's is rounded to
    the nearest even pixel."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def __call__(self, image: Image.Image) -> Image.Image:
        height, width = self.size
        left, top = (image.width - width) // 2, (image.height - height) // 2
        return image.crop((left, top, left + width, top + height))

    def __repr__(self) -> str:
        return f"CentreCrop(size={self.size})"


def resizing(preprocessing: Preprocessing) -> list[Callable[[Image.Image], Image.Image]]:
    """The steps that make a picture of the model's size. Raises ValueError for an illegal `resize`."""
    (height, width), mode = preprocessing.size, InterpolationMode(preprocessing.interpolation)
    size = height, width
    resize: list[Callable] = [T.Resize(preprocessing.resized(), interpolation=mode)]
    if preprocessing.resize == "shortest":
        return [*resize, T.CenterCrop(size)]
    return resize if preprocessing.resize == "squash" else [*resize, CentreCrop(size)]
