"""The preprocessing of images, unless the config overrides it: as in the CLIP's own training, and turned upright if the
data set says so."""

from collections.abc import Callable
from typing import Any

import torchvision.transforms as T
from dassl.data.transforms import build_transform
from PIL import Image
from torch import Tensor
from yacs.config import CfgNode

from softcpt.backbones.config import Preprocessing
from softcpt.backbones.pixels import resizing
from softcpt.distributed import reading_processes

OPENAI = Preprocessing((224, 224))
UPRIGHT = "INPUT.UPRIGHT"
KEYS = {"INTERPOLATION": "interpolation", "PIXEL_MEAN": "mean", "PIXEL_STD": "std", "RESIZE": "resize"}


def with_preprocessing(cfg: CfgNode, model: Preprocessing, dataset: object = None) -> CfgNode:
    """A copy of a config in which the model's values, and that of the data set or its class, fill the empty keys of
    INPUT.

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
    cfg = filled(cfg, model, upright_of(cfg.INPUT.UPRIGHT, dataset))
    try:
        Preprocessing(tuple(cfg.INPUT.SIZE), resize=cfg.INPUT.RESIZE).resized()
    except ValueError as error:
        raise ValueError(f"INPUT.RESIZE: {error}") from error
    return cfg


def upright_of(given: object, dataset: object) -> bool:
    """Whether a run turns images as their EXIF entries say: INPUT.UPRIGHT, or for None the data set's `upright`.

    Raises ValueError for a value that is neither.
    """
    if given is not None and not isinstance(given, bool):
        raise ValueError(f"{UPRIGHT}: {given!r} is not legal; one of True, False, or None for what the data set says")
    return bool(getattr(dataset, "upright", False)) if given is None else given


def filled(cfg: CfgNode, model: Preprocessing, upright: bool = False) -> CfgNode:
    """The same without checks."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.INPUT.SIZE = tuple(cfg.INPUT.SIZE or model.size)
    for key, attribute in KEYS.items():
        cfg.INPUT[key] = cfg.INPUT[key] or _plain(getattr(model, attribute))
    cfg.INPUT.UPRIGHT = upright
    cfg.freeze()
    return cfg


def for_loaders(cfg: CfgNode) -> CfgNode:
    """A config that Dassl builds loaders from: the CLIP's preprocessing is not known yet, the number of workers is."""
    cfg = filled(cfg, OPENAI)
    cfg.defrost()
    cfg.DATALOADER.NUM_WORKERS = reading_processes(cfg.DATALOADER.NUM_WORKERS)
    cfg.freeze()
    return cfg


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _same(given: Any, own: Any) -> bool:
    if isinstance(own, str):
        return given == own
    return len(given) == len(own) and all(abs(a - b) < 1e-4 for a, b in zip(given, own))


def test_transform(cfg: CfgNode) -> Callable[[Image.Image], Tensor]:
    """Dassl's test transform, with images resized and cropped as INPUT.RESIZE says."""
    transform = build_transform(cfg, is_train=False)
    if cfg.INPUT.RESIZE == "shortest" or cfg.INPUT.NO_TRANSFORM:
        return transform
    steps = resizing(
        Preprocessing(tuple(cfg.INPUT.SIZE), interpolation=cfg.INPUT.INTERPOLATION, resize=cfg.INPUT.RESIZE)
    )
    kept = [step for step in transform.transforms if not isinstance(step, (T.Resize, T.CenterCrop))]
    return T.Compose([*steps, *kept])
