"""RandAugment and its variants: a few random operations per image.

Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search space", arXiv 1909.13719;
Sohn et al., "FixMatch", arXiv 2001.07685 (its list of operations). `torchvision.transforms.RandAugment` has one fixed
magnitude and another list, hence these.
"""

import random
from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw, ImageEnhance, ImageOps

Operation = Callable[[Image.Image, float], Image.Image]


def _affine(img: Image.Image, a: float, b: float, c: float, d: float, e: float, f: float) -> Image.Image:
    return img.transform(img.size, Image.Transform.AFFINE, (a, b, c, d, e, f))


def _flip_sign(value: float) -> float:
    return -value if random.random() > 0.5 else value


def _solarize_add(img: Image.Image, addition: float, threshold: int = 128) -> Image.Image:
    brighter = img.point(lambda pixel: min(int(pixel + addition), 255))
    return ImageOps.solarize(brighter, threshold)


def _cutout(img: Image.Image, side: float) -> Image.Image:
    """A grey square of `side` pixels, cut at the border, centred at a random point."""
    width, height = img.size
    left = max(0, int(random.uniform(0, width) - side / 2))
    top = max(0, int(random.uniform(0, height) - side / 2))
    img = img.copy()
    ImageDraw.Draw(img).rectangle((left, top, min(width, left + side), min(height, top + side)), (125, 123, 114))
    return img


OPERATIONS: dict[str, Operation] = {
    "identity": lambda img, _: img,
    "autocontrast": lambda img, _: ImageOps.autocontrast(img),
    "equalize": lambda img, _: ImageOps.equalize(img),
    "invert": lambda img, _: ImageOps.invert(img),
    "rotate": lambda img, degrees: img.rotate(_flip_sign(degrees)),
    "posterize": lambda img, bits: ImageOps.posterize(img, int(bits)),
    "solarize": lambda img, threshold: ImageOps.solarize(img, threshold),
    "solarize_add": _solarize_add,
    "color": lambda img, factor: ImageEnhance.Color(img).enhance(factor),
    "contrast": lambda img, factor: ImageEnhance.Contrast(img).enhance(factor),
    "brightness": lambda img, factor: ImageEnhance.Brightness(img).enhance(factor),
    "sharpness": lambda img, factor: ImageEnhance.Sharpness(img).enhance(factor),
    "shear_x": lambda img, v: _affine(img, 1, _flip_sign(v), 0, 0, 1, 0),
    "shear_y": lambda img, v: _affine(img, 1, 0, 0, _flip_sign(v), 1, 0),
    "translate_x": lambda img, share: _affine(img, 1, 0, _flip_sign(share) * img.size[0], 0, 1, 0),
    "translate_y": lambda img, share: _affine(img, 1, 0, 0, 0, 1, _flip_sign(share) * img.size[1]),
    "translate_x_pixels": lambda img, pixels: _affine(img, 1, 0, _flip_sign(pixels), 0, 1, 0),
    "translate_y_pixels": lambda img, pixels: _affine(img, 1, 0, 0, 0, 1, _flip_sign(pixels)),
    "cutout": _cutout,
}

# Operation and the range of its strength.
Ranges = Sequence[tuple[str, float, float]]

_ENHANCE = ("color", "contrast", "brightness", "sharpness")

_RANDAUGMENT: Ranges = [
    *((name, 0, 1) for name in ("autocontrast", "equalize", "invert")),
    ("rotate", 0, 30),
    ("posterize", 4, 8),
    ("solarize", 0, 256),
    ("solarize_add", 0, 110),
    *((name, 0.1, 1.9) for name in _ENHANCE),
    ("shear_x", 0.0, 0.3),
    ("shear_y", 0.0, 0.3),
    ("cutout", 0, 40),
    ("translate_x_pixels", 0, 100),
    ("translate_y_pixels", 0, 100),
]

_SYMMETRIC: Ranges = [
    *((name, 0, 1) for name in ("autocontrast", "equalize", "identity")),
    ("posterize", 4, 8),
    ("rotate", -30, 30),
    ("shear_x", -0.3, 0.3),
    ("shear_y", -0.3, 0.3),
    ("solarize", 0, 256),
    ("translate_x", -0.3, 0.3),
    ("translate_y", -0.3, 0.3),
]

_RANDAUGMENT2: Ranges = [*_SYMMETRIC, ("invert", 0, 1), *((name, 0.1, 1.9) for name in _ENHANCE)]
_FIXMATCH: Ranges = [*_SYMMETRIC, *((name, 0.05, 0.95) for name in _ENHANCE)]


class _RandomOperations:
    """Apply `n` operations drawn with replacement from `ranges` to an RGB image, each with probability `p`."""

    def __init__(self, ranges: Ranges, n: int, p: float = 1.0) -> None:
        self.ranges = ranges
        self.n = n
        self.p = p

    def strength(self) -> float:
        """Position in an operation's range, from 0 to 1."""
        return random.random()

    def __call__(self, img: Image.Image) -> Image.Image:
        for name, low, high in random.choices(self.ranges, k=self.n):
            if random.random() <= self.p:
                img = OPERATIONS[name](img, low + self.strength() * (high - low))
        return img


class RandAugment(_RandomOperations):
    """`n` operations at the fixed magnitude `m`, from 0 to 30."""

    def __init__(self, n: int = 2, m: float = 10) -> None:
        if not 0 <= m <= 30:
            raise ValueError(f"INPUT.RANDAUGMENT_M must be between 0 and 30, got {m}")
        super().__init__(_RANDAUGMENT, n)
        self.m = m

    def strength(self) -> float:
        return self.m / 30


class RandAugment2(_RandomOperations):
    """`n` operations at random magnitudes, each with probability `p`."""

    def __init__(self, n: int = 2, p: float = 0.6) -> None:
        super().__init__(_RANDAUGMENT2, n, p)


class RandAugmentFixMatch(_RandomOperations):
    """`n` operations of FixMatch's list at random magnitudes."""

    def __init__(self, n: int = 2) -> None:
        super().__init__(_FIXMATCH, n)
