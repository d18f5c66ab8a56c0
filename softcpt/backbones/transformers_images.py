"""The preprocessing of images in a folder of transformers: processor_config.json and preprocessor_config.json.

What the library's own processor makes of a picture, or an error that names the key. The library has two backends, and
with Pillow's the pixels are equal.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .config import OPENAI_MEAN, OPENAI_STD, Preprocessing
from .weights import KEY, read_json

FILES = ("processor_config.json", "preprocessor_config.json")
STEPS: dict[str, Any] = {"do_resize": True, "do_center_crop": False, "do_rescale": True, "do_normalize": True}
STEPS["rescale_factor"] = 1 / 255
HALVES = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 224, "width": 224}}
# What the classes of the library do where a file leaves a key out.
PROCESSORS: dict[str, dict[str, Any]] = {
    "CLIPImageProcessor": {
        **STEPS,
        "do_center_crop": True,
        "resample": 3,
        "size": {"shortest_edge": 224},
        "crop_size": 224,
        "image_mean": list(OPENAI_MEAN),
        "image_std": list(OPENAI_STD),
    },
    "SiglipImageProcessor": {**STEPS, "resample": 3, **HALVES},
    "ViTImageProcessor": {**STEPS, "resample": 2, "default_to_square": True, **HALVES},
}
OF_KIND = {"siglip": "SiglipImageProcessor"}  # of a model without a file; else CLIP's
# Pillow's numbers, and the words that the library takes in their place. Its "nearest" is another than Pillow's.
RESAMPLING = {0: "nearest", 2: "bilinear", 3: "bicubic", "nearest-exact": "nearest"}
RESAMPLING |= {"bilinear": "bilinear", "bicubic": "bicubic"}
MOST = 9999  # pixels of an edge


def preprocessing_of(folder: Path, size: tuple[int, int], kind: str) -> Preprocessing:
    """The preprocessing for an image tower of this size. Raises ValueError for what is unknown or does not fit."""
    path, facts = processor_of(folder)
    if path is None:
        defaults = PROCESSORS[OF_KIND.get(kind, "CLIPImageProcessor")]
        mean, std = tuple(defaults["image_mean"]), tuple(defaults["image_std"])
        return Preprocessing(size, mean, std, resize=f"shortest:{size[0]}" if defaults["do_center_crop"] else "squash")
    try:
        facts = {**PROCESSORS[name_of(facts, kind)], **facts}
        check_types(facts)
        interpolation, (mean, std) = resample_of(facts["resample"]), normalisation(facts)
        return Preprocessing(size, mean, std, interpolation, resizing_of(facts, size))
    except ValueError as error:
        raise ValueError(f"{KEY}: {path}: {error}") from error


def processor_of(folder: Path) -> tuple[Path | None, dict[str, Any]]:
    """The file that the library reads, and what it says of images; (None, {}) if there is none."""
    nested, plain = (folder / name for name in FILES)
    inside = read_json(nested).get("image_processor") if nested.is_file() else None
    if inside is not None:
        if not isinstance(inside, dict):
            raise ValueError(f"{KEY}: {nested}: image_processor is {inside!r:.60}, not a JSON object")
        return nested, inside
    return (plain, read_json(plain)) if plain.is_file() else (None, {})


def name_of(facts: Mapping[str, Any], kind: str) -> str:
    """The class of the processor, as the library finds it."""
    found = facts.get("image_processor_type") or facts.get("feature_extractor_type")
    if found is None:
        return OF_KIND.get(kind, "CLIPImageProcessor")
    name = str(found).replace("FeatureExtractor", "ImageProcessor").removesuffix("Fast")
    if name not in PROCESSORS:
        raise ValueError(f"image_processor_type {found!r:.60} is not supported; {', '.join(PROCESSORS)} are")
    return name


def check_types(facts: Mapping[str, Any]) -> None:
    for key in ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_pad", "use_square_size"):
        if not isinstance(facts.get(key, False), bool):
            raise ValueError(f"{key} is {facts[key]!r:.60}, not true or false")
    for key in ("do_pad", "use_square_size"):
        if facts.get(key):
            raise ValueError(f"{key} is true, which is not supported")
    factor = facts["rescale_factor"]
    if facts["do_rescale"] and not (_number(factor) and 1e-5 < factor < 10):
        raise ValueError(f"rescale_factor is {factor!r:.60}, not a number from 0.00001 to 10")


def resample_of(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str) or value not in RESAMPLING:
        raise ValueError(f"resample {value!r:.60} is not supported; {', '.join(map(str, RESAMPLING))} are")
    return RESAMPLING[value]


def normalisation(facts: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of the channels for pixels in [0, 1], with the factor of the pixels from 0 to 255 in them."""
    factor = 255 * facts["rescale_factor"] if facts["do_rescale"] else 255.0
    factor = 1.0 if math.isclose(factor, 1) else factor
    if not facts["do_normalize"]:
        return (0.0,) * 3, (1 / factor,) * 3
    shown = {}
    for key, least in (("image_mean", -1e6), ("image_std", 1e-6)):
        value = [facts[key]] * 3 if _number(facts[key]) else facts[key]
        numbers = isinstance(value, list) and len(value) == 3 and all(map(_number, value))
        if not numbers or not all(least < x / factor < 1e6 for x in value):
            raise ValueError(f"{key} is {value!r:.60}, not three numbers of the colours")
        shown[key] = tuple(x / factor for x in value)
    return shown["image_mean"], shown["image_std"]


def resizing_of(facts: Mapping[str, Any], size: tuple[int, int]) -> str:
    """`Preprocessing.resize`. Raises ValueError unless the processor makes every picture one of `size`."""
    if not facts["do_resize"]:
        raise ValueError("do_resize is false, so pictures of any size reach an image tower of one size")
    pixels = edges("size", facts["size"], 2 if facts.get("default_to_square") else 1)
    crop, key = pixels, "size"
    if facts["do_center_crop"]:
        crop, key = edges("crop_size", facts.get("crop_size"), 2), "crop_size"
    if len(crop) == 1:
        raise ValueError(f"{key} has a shortest_edge alone, which leaves pictures of many shapes")
    if crop != size:
        raise ValueError(f"{key} makes images of {_shown(crop)}, but the image tower takes {_shown(size)}")
    if any(there < wanted for there, wanted in zip(pixels * 2, crop)):
        raise ValueError(f"size {_shown(pixels)} is below crop_size {_shown(crop)}, so the rest would be padded")
    if len(pixels) == 1:
        return f"shortest:{pixels[0]}"
    return "squash" if pixels == crop else f"squash:{_shown(pixels)}"


def edges(key: str, value: Any, of_one: int) -> tuple[int, ...]:
    """The shorter edge (E,), or height and width (H, W), of a size in one of the library's forms; one number is
    `of_one` of them."""
    numbers: list[Any] = []
    if isinstance(value, dict) and value.keys() in ({"shortest_edge"}, {"height", "width"}):
        numbers = [value[name] for name in ("shortest_edge", "height", "width") if name in value]
    elif isinstance(value, list) and len(value) == 2:
        numbers = value
    elif isinstance(value, int):
        numbers = [value] * of_one
    if not numbers or not all(type(number) is int and 0 < number <= MOST for number in numbers):
        raise ValueError(f"{key} is {value!r:.80}, not shortest_edge, or height and width, in pixels up to {MOST:,}")
    return tuple(numbers)


def _number(value: Any) -> bool:
    """Whether this is a number of a size that can be computed with: not nan, nor an integer of any length."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6


def _shown(pixels: tuple[int, ...]) -> str:
    return "x".join(map(str, pixels))
