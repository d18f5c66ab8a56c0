"""The transforms that `INPUT.TRANSFORMS` can name, and the order in which they are applied."""

import logging
import random
from collections.abc import Callable, Sequence

import torch
import torchvision.transforms as T
import torchvision.transforms.functional as F
from dassl.utils import check_availability
from PIL import Image
from torchvision.transforms import InterpolationMode
from yacs.config import CfgNode

from .augment import RandAugment, RandAugment2, RandAugmentFixMatch

AVAI_CHOICES = [
    "random_flip",
    "random_resized_crop",
    "normalize",
    "instance_norm",
    "random_crop",
    "random_translation",
    "center_crop",  # accepted, does nothing: testing always crops the centre
    "cutout",
    "imagenet_policy",
    "cifar10_policy",
    "svhn_policy",
    "randaugment",
    "randaugment_fixmatch",
    "randaugment2",
    "gaussian_noise",
    "colorjitter",
    "randomgrayscale",
    "gaussian_blur",
]

INTERPOLATION_MODES = {
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
    "nearest": InterpolationMode.NEAREST,
}

_GREY = [128, 128, 128]  # fills what a rotated or shifted image leaves empty

logger = logging.getLogger(__name__)


class Random2DTranslation:
    """With probability `p`, enlarge an image by an eighth and cut out a random (height, width); else just resize."""

    def __init__(
        self,
        height: int,
        width: int,
        p: float = 0.5,
        interpolation: InterpolationMode = InterpolationMode.BILINEAR,
    ) -> None:
        self.height, self.width = height, width
        self.p = p
        self.interpolation = interpolation

    def __call__(self, img: Image.Image) -> Image.Image:
        if random.random() > self.p:
            return F.resize(img, [self.height, self.width], self.interpolation)
        height, width = round(self.height * 1.125), round(self.width * 1.125)
        top = round(random.uniform(0, height - self.height))
        left = round(random.uniform(0, width - self.width))
        return F.crop(F.resize(img, [height, width], self.interpolation), top, left, self.height, self.width)


class InstanceNormalization:
    """Shift and scale every channel of a (C, H, W) image to mean 0 and standard deviation 1."""

    def __init__(self, eps: float = 1e-8) -> None:
        self.eps = eps

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        mean, std = img.mean(dim=(1, 2), keepdim=True), img.std(dim=(1, 2), keepdim=True)
        return (img - mean) / (std + self.eps)


class Cutout:
    """Set `n_holes` squares of side `length`, centred at random pixels, of a (C, H, W) image to 0.

    DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout", arXiv 1708.04552.
    """

    def __init__(self, n_holes: int = 1, length: int = 16) -> None:
        self.n_holes = n_holes
        self.length = length

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        img = img.clone()
        half = self.length // 2
        for _ in range(self.n_holes):
            y, x = random.randrange(img.size(1)), random.randrange(img.size(2))
            img[:, max(y - half, 0) : y + half, max(x - half, 0) : x + half] = 0
        return img


class GaussianNoise:
    """With probability `p`, add noise N(mean, std^2) to a tensor."""

    def __init__(self, mean: float = 0.0, std: float = 0.15, p: float = 0.5) -> None:
        self.mean, self.std = mean, std
        self.p = p

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        if random.random() > self.p:
            return img
        return img + torch.randn_like(img) * self.std + self.mean


def interpolation_mode(cfg: CfgNode) -> InterpolationMode:
    """The mode that `cfg.INPUT.INTERPOLATION` names; ValueError naming the key when it is unknown."""
    check_availability(cfg.INPUT.INTERPOLATION, INTERPOLATION_MODES, key="INPUT.INTERPOLATION")
    return INTERPOLATION_MODES[cfg.INPUT.INTERPOLATION]


def build_transform(
    cfg: CfgNode, is_train: bool = True, choices: Sequence[str] | None = None
) -> Callable[[Image.Image], torch.Tensor] | None:
    """PIL image -> (3, H, W) tensor, as `cfg.INPUT` says.

    Args:
        is_train: testing only resizes, crops the centre and normalises.
        choices: names used instead of `cfg.INPUT.TRANSFORMS`.

    Returns None with `cfg.INPUT.NO_TRANSFORM`. Raises ValueError, naming the key, for an unknown name.
    """
    if cfg.INPUT.NO_TRANSFORM:
        logger.info("INPUT.NO_TRANSFORM: no transform is applied")
        return None
    choices = cfg.INPUT.TRANSFORMS if choices is None else choices
    for choice in choices:
        check_availability(choice, AVAI_CHOICES, key="INPUT.TRANSFORMS")
    transform = T.Compose(_train_steps(cfg, choices) if is_train else _test_steps(cfg, choices))
    logger.info("%s transform: %s", "Training" if is_train else "Test", transform)
    return transform


def _train_steps(cfg: CfgNode, choices: Sequence[str]) -> list[Callable]:
    """The named transforms in the fixed order: geometry, colour, to tensor, tensor noise and normalisation."""
    options, mode = cfg.INPUT, interpolation_mode(cfg)
    size = options.SIZE
    # Geometry; without a crop the image is resized to the exact size.
    steps: list[Callable] = []
    if "random_crop" not in choices and "random_resized_crop" not in choices:
        steps.append(T.Resize(size, interpolation=mode))
    named: list[tuple[str, Callable[[], Callable]]] = [
        ("random_translation", lambda: Random2DTranslation(size[0], size[1])),
        ("random_crop", lambda: T.RandomCrop(size, padding=options.CROP_PADDING)),
        ("random_resized_crop", lambda: T.RandomResizedCrop(size, scale=options.RRCROP_SCALE, interpolation=mode)),
        ("random_flip", T.RandomHorizontalFlip),
        ("imagenet_policy", lambda: T.AutoAugment(T.AutoAugmentPolicy.IMAGENET, fill=_GREY)),
        ("cifar10_policy", lambda: T.AutoAugment(T.AutoAugmentPolicy.CIFAR10, fill=_GREY)),
        ("svhn_policy", lambda: T.AutoAugment(T.AutoAugmentPolicy.SVHN, fill=_GREY)),
        ("randaugment", lambda: RandAugment(options.RANDAUGMENT_N, options.RANDAUGMENT_M)),
        ("randaugment_fixmatch", lambda: RandAugmentFixMatch(options.RANDAUGMENT_N)),
        ("randaugment2", lambda: RandAugment2(options.RANDAUGMENT_N)),
        ("colorjitter", lambda: _color_jitter(options)),
        ("randomgrayscale", lambda: T.RandomGrayscale(p=options.RGS_P)),
        ("gaussian_blur", lambda: T.RandomApply([T.GaussianBlur(options.GB_K)], p=options.GB_P)),
        ("", T.ToTensor),
        ("cutout", lambda: Cutout(options.CUTOUT_N, options.CUTOUT_LEN)),
        ("normalize", lambda: T.Normalize(mean=options.PIXEL_MEAN, std=options.PIXEL_STD)),
        ("gaussian_noise", lambda: GaussianNoise(options.GN_MEAN, options.GN_STD)),
        ("instance_norm", InstanceNormalization),
    ]
    return steps + [build() for name, build in named if not name or name in choices]


def _color_jitter(options: CfgNode) -> T.ColorJitter:
    return T.ColorJitter(
        brightness=options.COLORJITTER_B,
        contrast=options.COLORJITTER_C,
        saturation=options.COLORJITTER_S,
        hue=options.COLORJITTER_H,
    )


def _test_steps(cfg: CfgNode, choices: Sequence[str]) -> list[Callable]:
    """The shorter edge to the larger side of INPUT.SIZE, the centre crop, and what normalises."""
    size = cfg.INPUT.SIZE
    steps: list[Callable] = [T.Resize(max(size), interpolation=interpolation_mode(cfg)), T.CenterCrop(size)]
    steps.append(T.ToTensor())
    if "normalize" in choices:
        steps.append(T.Normalize(mean=cfg.INPUT.PIXEL_MEAN, std=cfg.INPUT.PIXEL_STD))
    if "instance_norm" in choices:
        steps.append(InstanceNormalization())
    return steps
