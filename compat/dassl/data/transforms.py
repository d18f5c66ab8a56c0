"""The transforms that `INPUT.TRANSFORMS` can name."""

from collections.abc import Callable

import torch
import torchvision.transforms as T
from dassl.utils import check_availability
from PIL import Image
from torchvision.transforms import InterpolationMode
from yacs.config import CfgNode

# "center_crop" has no effect: test images are always cropped in the centre, training images never.
AVAI_CHOICES = ["random_resized_crop", "random_flip", "normalize", "center_crop"]
INTERPOLATION_MODES = {mode.value: mode for mode in map(InterpolationMode, ("bilinear", "bicubic", "nearest"))}


def build_transform(cfg: CfgNode, is_train: bool = True) -> Callable[[Image.Image], torch.Tensor] | None:
    """The transform from a PIL image to a tensor (3, H, W) that `cfg.INPUT` describes; None with `INPUT.NO_TRANSFORM`.

    Training images are cropped and flipped at random if the config says so, and otherwise resized to the exact size.
    Test images are resized, the shorter edge to the larger side of `INPUT.SIZE`, and cropped in the centre.
    Raises ValueError, naming the key, for an unknown transform or interpolation.
    """
    options, names = cfg.INPUT, cfg.INPUT.TRANSFORMS
    if options.NO_TRANSFORM:
        return None
    for name in names:
        check_availability(name, AVAI_CHOICES, key="INPUT.TRANSFORMS")
    check_availability(options.INTERPOLATION, INTERPOLATION_MODES, key="INPUT.INTERPOLATION")
    mode, size = INTERPOLATION_MODES[options.INTERPOLATION], options.SIZE

    if not is_train:
        steps: list[Callable] = [T.Resize(max(size), interpolation=mode), T.CenterCrop(size)]
    elif "random_resized_crop" in names:
        steps = [T.RandomResizedCrop(size, scale=options.RRCROP_SCALE, interpolation=mode)]
    else:
        steps = [T.Resize(size, interpolation=mode)]
    if is_train and "random_flip" in names:
        steps.append(T.RandomHorizontalFlip())
    steps.append(T.ToTensor())
    if "normalize" in names:
        steps.append(T.Normalize(mean=options.PIXEL_MEAN, std=options.PIXEL_STD))
    return T.Compose(steps)
