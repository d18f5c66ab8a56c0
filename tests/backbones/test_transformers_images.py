"""Pixels of pictures against transformers' own image processors, whatever a folder's files say."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoProcessor,
    CLIPImageProcessor,
    CLIPProcessor,
    CLIPTokenizer,
    SiglipImageProcessor,
)

from softcpt.backbones import load_clip
from softcpt.backbones.transformers_images import preprocessing_of
from softcpt.inference.images import transform_of

SIZES = ((451, 299), (299, 451), (227, 224), (33, 35), (640, 481), (32, 32))  # width and height
TO_32 = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}


@pytest.fixture(scope="module")
def pictures():
    """Smooth pictures with some noise, as photographs are, of odd sizes."""
    draw, found = np.random.default_rng(0), []
    for width, height in SIZES:
        coarse = Image.fromarray(draw.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int64)
        found.append(Image.fromarray(np.clip(pixels + draw.integers(-9, 10, pixels.shape), 0, 255).astype(np.uint8)))
    return found


def write(folder, facts, kind="clip", file="preprocessor_config.json"):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    (folder / file).write_text(json.dumps(facts))
    return folder


def check(folder, pictures, kind="clip", backend="pil", levels=0.0):
    """Compare with the library's processor; `levels` of 255 may be between the pixels."""
    library = AutoImageProcessor.from_pretrained(folder, backend=backend)
    found = preprocessing_of(folder, (32, 32), kind)
    ours = torch.stack([transform_of(found)(picture) for picture in pictures])
    theirs = torch.cat([library(picture, return_tensors="pt").pixel_values.float() for picture in pictures])
    worst = ((ours - theirs).abs() * torch.tensor(found.std).view(3, 1, 1)).max() * 255
    assert ours.shape == theirs.shape and worst < levels + 1e-3
    return found


LEGAL = {
    "as written": TO_32,
    "int sizes, as older files have them": {"size": 32, "crop_size": 32},
    "another edge than crop": {**TO_32, "size": {"shortest_edge": 37}},
    "height and width, the crop is all of it": {**TO_32, "size": {"height": 32, "width": 32}},
    "height and width, without a crop": {"size": {"width": 32, "height": 32}, "do_center_crop": False},
    "height and width, then a crop": {**TO_32, "size": {"height": 41, "width": 36}},
    "list of height and width": {**TO_32, "size": [41, 36]},
    "square from one number": {**TO_32, "size": 32, "default_to_square": True},
    "bilinear": {**TO_32, "resample": 2},
    "nearest": {**TO_32, "resample": 0},
    "other colours": {**TO_32, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]},
    "one mean for all colours": {**TO_32, "image_mean": 0.5, "image_std": 0.25},
    "another factor": {**TO_32, "rescale_factor": 1 / 127.5, "image_mean": [1, 1, 1], "image_std": [1, 1, 1]},
    "pixels to 255": {**TO_32, "do_rescale": False, "image_mean": [120.0] * 3, "image_std": [60.0] * 3},
    "not normalised": {**TO_32, "do_normalize": False},
    "not even rescaled": {**TO_32, "do_normalize": False, "do_rescale": False},
    "no conversion of colours": {**TO_32, "do_convert_rgb": False},
    "older class": {**TO_32, "feature_extractor_type": "CLIPFeatureExtractor"},
    "fast class": {**TO_32, "image_processor_type": "CLIPImageProcessorFast"},
    "SigLIP's class": {"size": {"height": 32, "width": 32}, "image_processor_type": "SiglipImageProcessor"},
    "ViT's class, to which one number is a square": {
        "size": 41,
        "crop_size": 32,
        "do_center_crop": True,
        "image_processor_type": "ViTImageProcessor",
    },
    "ViT's class": {"size": {"height": 32, "width": 32}, "image_processor_type": "ViTImageProcessor"},
}


@pytest.mark.parametrize("case", LEGAL)
def test_pixels_are_those_of_the_library(case, pictures, tmp_path):
    check(write(tmp_path / "model", LEGAL[case]), pictures)


@pytest.mark.parametrize("facts", [TO_32, {**TO_32, "resample": "bicubic"}, {**TO_32, "resample": "bilinear"}])
def test_pixels_are_within_rounding_of_the_librarys_other_backend(facts, pictures, tmp_path):
    """Names of filters are for this backend only: with Pillow's, any name is bilinear."""
    check(write(tmp_path / "model", facts), pictures, backend="torchvision", levels=2)


@pytest.mark.parametrize("kind", ["clip", "siglip", "metaclip_2"])
def test_class_follows_from_the_model(kind, pictures, tmp_path):
    size = {"size": {"height": 32, "width": 32}} if kind == "siglip" else TO_32
    check(write(tmp_path / "model", size, kind), pictures, kind)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_folder_without_a_file_has_the_familys_preprocessing(kind, pictures, tmp_path):
    facts = TO_32 if kind == "clip" else {"size": {"height": 32, "width": 32}}
    expected = preprocessing_of(write(tmp_path / "model", facts, kind), (32, 32), kind)
    (tmp_path / "none").mkdir()
    assert preprocessing_of(tmp_path / "none", (32, 32), kind) == expected


OTHER = {"image_mean": [0.1] * 3, "size": {"shortest_edge": 40}, "crop_size": 32}


def test_saved_processor_is_read(pictures, copied):
    """transformers 5 writes processor_config.json alone."""
    folder = copied("transformers-clip")
    CLIPProcessor(CLIPImageProcessor(**OTHER), CLIPTokenizer.from_pretrained(folder)).save_pretrained(folder)
    assert not (folder / "preprocessor_config.json").exists()
    found = check(folder, pictures)
    assert load_clip(str(folder)).preprocessing == found and found.mean == (0.1,) * 3 and found.resize == "shortest:40"
    assert AutoProcessor.from_pretrained(folder).image_processor.size == {"shortest_edge": 40}


def test_file_that_the_library_prefers_wins(pictures, tmp_path):
    folder = write(tmp_path / "model", TO_32)
    write(folder, {"processor_class": "CLIPProcessor"}, file="processor_config.json")  # holds no image processor
    assert check(folder, pictures).resize == "shortest:32"
    write(folder, {"processor_class": "CLIPProcessor", "image_processor": OTHER}, file="processor_config.json")
    assert check(folder, pictures).resize == "shortest:40"


def test_image_processor_of_siglip_2_with_one_resolution(pictures, tmp_path):
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "siglip"}')
    assert check(tmp_path, pictures, "siglip").resize == "squash"


ILLEGAL = {
    "shortest and longest edge": ({**TO_32, "size": {"shortest_edge": 32, "longest_edge": 40}}, "size is {'shortest_"),
    "longest edge": ({**TO_32, "size": {"longest_edge": 40}}, "size is {'longest_edge': 40}, not shortest_edge, or"),
    "no size": ({**TO_32, "size": None}, "size is None, not shortest_edge, or height and width"),
    "crop of one edge": ({**TO_32, "crop_size": {"shortest_edge": 32}}, "crop_size has a shortest_edge alone"),
    "no crop": ({**TO_32, "do_center_crop": False}, "size has a shortest_edge alone, which leaves pictures of many"),
    "another size": ({"size": 224, "crop_size": 224}, "crop_size makes images of 224x224, but the image tower takes 3"),
    "size left out": ({"crop_size": {"height": 24, "width": 32}}, "crop_size makes images of 24x32, but the image tow"),
    "padding": ({**TO_32, "size": {"shortest_edge": 30}}, "size 30 is below crop_size 32x32, so the rest would be pad"),
    "no resizing": ({**TO_32, "do_resize": False}, "do_resize is false, so pictures of any size"),
    "Lanczos": ({**TO_32, "resample": 1}, "resample 1 is not supported; 0, 2, 3, nearest-exact, bilinear, bicubic are"),
    "resample true": ({**TO_32, "resample": True}, "resample True is not supported"),
    "resample null": ({**TO_32, "resample": None}, "resample None is not supported"),
    "name of nearest": ({**TO_32, "resample": "nearest"}, "resample 'nearest' is not supported"),
    "mean null": ({**TO_32, "image_mean": None}, "image_mean is None, not three numbers"),
    "two colours": ({**TO_32, "image_std": [0.5, 0.5]}, r"image_std is \[0.5, 0.5\], not three numbers"),
    "mean of many digits": ({**TO_32, "image_mean": [10**400, 0, 0]}, "image_mean is .*, not three numbers"),
    "no deviation": ({**TO_32, "image_std": [0.5, 0.5, 0]}, r"image_std is \[0.5, 0.5, 0\], not three numbers"),
    "a word for true": ({**TO_32, "do_normalize": "yes"}, "do_normalize is 'yes', not true or false"),
    "factor": ({**TO_32, "rescale_factor": 0}, "rescale_factor is 0, not a number from 0.00001 to 10"),
    "padding to a size": ({**TO_32, "do_pad": True}, "do_pad is true, which is not supported"),
    "NaFlex": ({"image_processor_type": "Siglip2ImageProcessor"}, "image_processor_type 'Siglip2Im"),
    "unknown class": ({"image_processor_type": ["x"]}, r"image_processor_type \['x'\] is not supported"),
}


@pytest.mark.parametrize("case", ILLEGAL)
@pytest.mark.parametrize("nested", [False, True], ids=["preprocessor_config", "processor_config"])
def test_what_cannot_be_done_is_refused_by_name(case, nested, tmp_path):
    facts, message = ILLEGAL[case]
    file = "processor_config.json" if nested else "preprocessor_config.json"
    folder = write(tmp_path / "model", {"image_processor": facts} if nested else facts, file=file)
    with pytest.raises(ValueError, match=f"MODEL.BACKBONE.NAME: {folder}/{file}: {message}"):
        preprocessing_of(folder, (32, 32), "clip")


def test_processor_that_is_no_object_is_refused(tmp_path):
    with pytest.raises(ValueError, match="processor_config.json: image_processor is 5, not a JSON object"):
        preprocessing_of(write(tmp_path / "x", {"image_processor": 5}, file="processor_config.json"), (32, 32), "clip")
