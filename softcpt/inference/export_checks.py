"""Checks of an export's contents: every name, type, shape and number, before anything is built from them.

A digest only says that a file is as it was written. Each check raises ValueError with the key or tensor, what it is and
what is legal; the caller adds the file.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from softcpt.backbones import CLIP
from softcpt.backbones.config import RESIZE, RESIZES, Preprocessing, ResNet, ViT

TASK_KEYS = {"name": str, "template": str, "metric": str, "classnames": list}
BACKBONE_KEYS = ("name", "sha256", "image_digest")
HEAD_NUMBERS = ("scale", "alpha", "beta")
NUMBER = "(?:0|[1-9][0-9]{0,8})"  # one spelling of each
TENSORS = re.compile(
    rf"heads\.{NUMBER}\.(weight|bias|keys|labels)|weights\..+|prompts\.{NUMBER}|projection\.(weight|bias)"
)
DIGEST = re.compile("[0-9a-f]{1,128}")
LEAST_STD = 1e-6  # pixels divided by less are not finite numbers
LARGEST = 8192  # pixels of an edge
INTERPOLATIONS = ("bicubic", "bilinear", "nearest")


def check_contents(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """The metadata, whose first keys are of the right types, and the tensors of an export."""
    check_tasks(facts["tasks"], facts["heads"])
    wrong = [key for key in BACKBONE_KEYS if not isinstance(facts["backbone"].get(key), str)]
    _refuse(bool(wrong), f"backbone.{wrong[0] if wrong else ''} is no text")
    for key in BACKBONE_KEYS[1:]:
        value = facts["backbone"][key]
        _refuse(not DIGEST.fullmatch(value), f"backbone.{key} is {value!r:.60}, not hexadecimal digits")
    check_preprocessing(facts["preprocessing"])
    for name, value in tensors.items():
        check_tensor(name, value)
    classes = [len(task["classnames"]) for task in facts["tasks"]]
    width = check_heads(classes, tensors)
    check_projection(tensors, width)
    prompts = sorted(int(name.split(".")[1]) for name in tensors if name.startswith("prompts."))
    _refuse(prompts != list(range(len(prompts))), f"prompts are numbered {prompts[:9]}, not from 0 without gaps")
    for i in prompts:
        _shape(tensors, f"prompts.{i}", (None, tensors["prompts.0"].shape[-1] if tensors["prompts.0"].dim() else None))


def check_tasks(tasks: Sequence[Any], heads: Sequence[Any]) -> None:
    _refuse(not tasks, "it has no tasks")
    _refuse(len(tasks) != len(heads), f"it has {len(tasks)} tasks, but {len(heads)} heads")
    for t, (task, head) in enumerate(zip(tasks, heads)):
        for what, value, keys in (("tasks", task, TASK_KEYS), ("heads", head, {"normalised": bool})):
            _refuse(not isinstance(value, dict), f"{what}.{t} is no object")
            wrong = [key for key, kind in keys.items() if not isinstance(value.get(key), kind)]
            _refuse(bool(wrong), f"{what}.{t} is missing, or has of another type: {', '.join(wrong)}")
        names = task["classnames"]
        _refuse(
            not names or not all(isinstance(name, str) for name in names),
            f"tasks.{t}.classnames {names!r:.60} are not at least one text",
        )
        for key in HEAD_NUMBERS:
            _refuse(not _finite(head.get(key)), f"heads.{t}.{key} is {head.get(key)!r:.60}, not a finite number")
    words = [task["name"] for task in tasks]
    _refuse(len(set(words)) < len(words), f"two of its tasks have one name: {', '.join(words)[:200]}")


def check_preprocessing(shown: Mapping[str, Any]) -> None:
    known = [field.name for field in fields(Preprocessing)]
    _refuse(shown.keys() != set(known), f"preprocessing has not the keys {', '.join(known)}")
    mode, resize, size = (shown[key] for key in ("interpolation", "resize", "size"))
    words = f"not one of {', '.join(INTERPOLATIONS)}"
    _refuse(mode not in INTERPOLATIONS, f"preprocessing.interpolation is {mode!r:.60}, {words}")
    known_resize = isinstance(resize, str) and RESIZE.fullmatch(resize)
    _refuse(not known_resize, f"preprocessing.resize is {resize!r:.60}, not one of {RESIZES}")
    whole = (
        isinstance(size, list) and len(size) == 2 and all(type(edge) is int and 0 < edge <= LARGEST for edge in size)
    )
    _refuse(
        not whole,
        f"preprocessing.size is {size!r:.60}, not two numbers of pixels up to {LARGEST:,}",
    )
    Preprocessing(tuple(size), resize=resize).resized()
    for key, least in (("mean", -math.inf), ("std", LEAST_STD)):
        value = shown[key]
        right = isinstance(value, list) and len(value) == 3 and all(_finite(x) and x > least for x in value)
        above = f" above {LEAST_STD:f}" if key == "std" else ""
        _refuse(not right, f"preprocessing.{key} is {value!r:.60}, not three finite numbers{above}")


def check_tensor(name: str, value: Tensor) -> None:
    """A known name, numbers of the right kind, and all of them finite."""
    _refuse(not TENSORS.fullmatch(name), f"the tensor {name[:80]!r} is not one of an export")
    if name.endswith(".labels"):
        _refuse(value.dtype != torch.int64, f"{name} holds {value.dtype}, not torch.int64")
        return
    _refuse(not value.dtype.is_floating_point, f"{name} holds {value.dtype}, not floating-point numbers")
    bad = int((~torch.isfinite(value.float())).sum())
    _refuse(bad > 0, f"{name} has {bad:,} of {value.numel():,} values that are not finite")


def check_heads(classes: Sequence[int], tensors: Mapping[str, Tensor]) -> int:
    """The tensors of all heads, for tasks of so many `classes`; returns E."""
    extra = [name for name in tensors if name.startswith("heads.") and int(name.split(".")[1]) >= len(classes)]
    _refuse(bool(extra), f"{extra[0] if extra else ''} belongs to none of the {len(classes)} tasks")
    _refuse("heads.0.weight" not in tensors, "it has no tensor heads.0.weight")
    width = tensors["heads.0.weight"].shape[-1] if tensors["heads.0.weight"].dim() else 0
    for t, rows in enumerate(classes):
        _shape(tensors, f"heads.{t}.weight", (rows, width))
        if f"heads.{t}.bias" in tensors:
            _shape(tensors, f"heads.{t}.bias", (rows,))
        cache = [f"heads.{t}.{part}" in tensors for part in ("keys", "labels")]
        _refuse(any(cache) and not all(cache), f"heads.{t} has only one of keys and labels")
        if all(cache):
            labels = tensors[f"heads.{t}.labels"]
            _shape(tensors, f"heads.{t}.keys", (None, width))
            _shape(tensors, f"heads.{t}.labels", (len(tensors[f"heads.{t}.keys"]),))
            legal = not labels.numel() or 0 <= int(labels.min()) and int(labels.max()) < rows
            _refuse(not legal, f"heads.{t}.labels are not all from 0 to {rows - 1}")
    return width


def check_projection(tensors: Mapping[str, Tensor], width: int) -> None:
    if "projection.weight" in tensors:
        _shape(tensors, "projection.weight", (None, width))
    if "projection.bias" in tensors:
        _refuse("projection.weight" not in tensors, "projection.bias comes without projection.weight")
        _shape(tensors, "projection.bias", (width,))


def check_fit(export: Any, clip: CLIP) -> None:
    """What an export changes in the image tower, and the images and features that go in and out, fit its CLIP."""
    own, tower = clip.visual.state_dict(), clip.visual
    for name, value in export.weights.items():
        _refuse(name not in own, f"its image tower has no weights {name[:80]}")
        _refuse(own[name].shape != value.shape, f"weights.{name} is {_of(value)}, its tower's are {_of(own[name])}")
    if export.prompts:
        _refuse(bool(tower.not_tunable), f"prompts for a tower that takes none: {tower.not_tunable}")
        fits = len(export.prompts) <= tower.depth and export.prompts[0].shape[-1] == tower.width
        _refuse(not fits, f"{len(export.prompts)} prompts {_of(export.prompts[0])} for {tower.depth} x {tower.width}")
    embed_dim, image = clip.embed_dim, clip.config.image
    if export.projection is not None:
        _refuse(bool(tower.no_projection), f"a projection for a tower that has none: {tower.no_projection}")
        rows, expected = len(export.projection[0]), tower.projection_weights()[0].shape
        _refuse(rows != expected[0], f"projection.weight is {_of(export.projection[0])}, its tower's {tuple(expected)}")
        embed_dim = expected[1]
    width = export.heads[0].weight.shape[1]
    _refuse(width != embed_dim, f"heads.0.weight is for features of {width} numbers, its CLIP's have {embed_dim}")
    size = tuple(export.preprocessing.size)
    fixed = isinstance(image, ViT | ResNet)
    _refuse(
        fixed and size != tuple(image.image_size), f"preprocessing.size is {size}, its CLIP takes {image.image_size}"
    )


def _shape(tensors: Mapping[str, Tensor], name: str, expected: tuple[int | None, ...]) -> None:
    _refuse(name not in tensors, f"it has no tensor {name}")
    found = tuple(tensors[name].shape)
    right = len(found) == len(expected) and all(e is None and f or f == e for f, e in zip(found, expected))
    words = ", ".join("any" if e is None else str(e) for e in expected)
    _refuse(not right, f"{name} has shape {found}, not ({words})")


def _of(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30


def _refuse(wrong: bool, message: str) -> None:
    if wrong:
        raise ValueError(message)
