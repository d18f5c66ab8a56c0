"""The preprocessing of images: as in the CLIP's own training, unless the config overrides it."""

from collections.abc import Callable
from typing import Any

import torchvision.transforms as T
from dassl.data.transforms import INTERPOLATION_MODES, build_transform
from PIL import Image
from torch import Tensor
from yacs.config import CfgNode

from backbones.config import Preprocessing

from ..checks import check_choice

OPENAI = Preprocessing((224, 224))
KEYS = {"INTERPOLATION": "interpolation", "PIXEL_MEAN": "mean", "PIXEL_STD": "std", "RESIZE": "resize"}


def with_preprocessing(cfg: CfgNode, model: Preprocessing) -> CfgNode:
    """A copy of a config in which the model's values fill the empty keys of INPUT.

    Raises:
        ValueError: a key that contradicts the model, without INPUT.OVERRIDE_MODEL; INPUT.SIZE in any case, since the
            towers take images of one size.
    """
    size, name = tuple(cfg.INPUT.SIZE), cfg.MODEL.BACKBONE.NAME
    if size and size != tuple(model.size):
        raise ValueError(f"INPUT.SIZE: {size} does not fit the image tower of {name}, which takes {tuple(model.size)}")
    for key, attribute in KEYS.items():
        own, given = _plain(getattr(model, attribute)), cfg.INPUT[key]
        if given and not cfg.INPUT.OVERRIDE_MODEL and not _same(given, own):
            raise ValueError(
                f"INPUT.{key}: {given} contradicts {name}, which was trained with {own}; leave the key out, or set "
                "INPUT.OVERRIDE_MODEL True if you mean it"
            )
    cfg = filled(cfg, model)
    check_choice("INPUT.RESIZE", cfg.INPUT.RESIZE, ("shortest", "squash"))
    return cfg


def filled(cfg: CfgNode, model: Preprocessing) -> CfgNode:
    """The same without checks."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.INPUT.SIZE = tuple(cfg.INPUT.SIZE or model.size)
    for key, attribute in KEYS.items():
        cfg.INPUT[key] = cfg.INPUT[key] or _plain(getattr(model, attribute))
    cfg.freeze()
    return cfg


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _same(given: Any, own: Any) -> bool:
    if isinstance(own, str):
        return given == own
    return len(given) == len(own) and all(abs(a - b) < 1e-4 for a, b in zip(given, own))


def test_transform(cfg: CfgNode) -> Callable[[Image.Image], Tensor]:
    """Dassl's test transform, or the same with images squashed to the size instead of cropped."""
    transform = build_transform(cfg, is_train=False)
    if cfg.INPUT.RESIZE != "squash" or cfg.INPUT.NO_TRANSFORM:
        return transform
    squash = T.Resize(cfg.INPUT.SIZE, interpolation=INTERPOLATION_MODES[cfg.INPUT.INTERPOLATION])
    kept = [step for step in transform.transforms if not isinstance(step, (T.Resize, T.CenterCrop))]
    return T.Compose([squash, *kept])
