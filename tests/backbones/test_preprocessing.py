"""Preprocessing: the model's own, unless a config overrides it."""

import logging

import pytest
import toy
from dassl.engine import build_trainer
from PIL import Image

from softcpt.backbones.config import Preprocessing
from trainers.engine.preprocessing import test_transform as transform_of
from trainers.engine.preprocessing import with_preprocessing

OWN = Preprocessing((32, 48), (0.5, 0.4, 0.3), (0.2, 0.2, 0.2), "bilinear")


def config(tmp_path, *opts):
    return toy.config(tmp_path, tmp_path / "run", "CoOp", *opts)


def test_preprocessing_defaults_to_the_model(tmp_path):
    cfg = config(tmp_path)
    found = with_preprocessing(cfg, OWN).INPUT
    assert found.SIZE == (32, 48) and found.INTERPOLATION == "bilinear" and found.RESIZE == "shortest"
    assert found.PIXEL_MEAN == [0.5, 0.4, 0.3] and found.PIXEL_STD == [0.2, 0.2, 0.2]
    assert cfg.INPUT.SIZE == ()  # the config itself is unchanged


@pytest.mark.parametrize(
    "key, value, own",
    [
        ("INTERPOLATION", "bicubic", "bilinear"),
        ("PIXEL_MEAN", "[0.1, 0.4, 0.3]", r"\[0.5, 0.4, 0.3\]"),
        ("PIXEL_STD", "[0.2, 0.2, 0.3]", r"\[0.2, 0.2, 0.2\]"),
        ("RESIZE", "squash", "shortest"),
    ],
)
def test_contradicting_the_model_needs_override_model(tmp_path, key, value, own):
    with pytest.raises(ValueError, match=rf"INPUT.{key}: .* contradicts .*tiny_vit.npz.* {own}; .*OVERRIDE_MODEL True"):
        with_preprocessing(config(tmp_path, f"INPUT.{key}", value), OWN)
    cfg = config(tmp_path, f"INPUT.{key}", value, "INPUT.OVERRIDE_MODEL", True)
    assert str(with_preprocessing(cfg, OWN).INPUT[key]) == value


def test_repeating_the_models_values_is_allowed(tmp_path):
    cfg = config(tmp_path, "INPUT.SIZE", "(32, 48)", "INPUT.PIXEL_MEAN", "[0.5, 0.40000001, 0.3]")
    assert with_preprocessing(cfg, OWN).INPUT.SIZE == (32, 48)


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("SIZE", "(224, 224)", r"INPUT.SIZE: \(224, 224\) does not fit .*tiny_vit.npz.*takes \(32, 48\)"),
        ("RESIZE", "stretch", "INPUT.RESIZE.*'stretch'.*shortest.*squash"),
        ("RESIZE", "squash:32x40", "INPUT.RESIZE: 'squash:32x40' leaves fewer pixels than 32x48"),
    ],
)
def test_other_size_or_unknown_resize_mode_is_always_an_error(tmp_path, key, value, message):
    with pytest.raises(ValueError, match=message):
        with_preprocessing(config(tmp_path, f"INPUT.{key}", value, "INPUT.OVERRIDE_MODEL", True), OWN)


def test_squash_keeps_the_borders_that_cropping_loses(tmp_path):
    """The image is twice as wide as high, red at the left and blue at the right."""
    image = Image.new("RGB", (128, 64), (0, 0, 0))
    image.paste((255, 0, 0), (0, 0, 16, 64))
    image.paste((0, 0, 255), (112, 0, 128, 64))
    square = {"size": (32, 32), "mean": (0.0,) * 3, "std": (1.0,) * 3}
    shown = {}
    for resize in ("shortest", "squash"):
        shown[resize] = transform_of(with_preprocessing(config(tmp_path), Preprocessing(**square, resize=resize)))(
            image
        )
        assert shown[resize].shape == (3, 32, 32)
    assert shown["squash"][0, 16, 1] > 0.9 and shown["squash"][2, 16, 30] > 0.9
    assert shown["shortest"].max() < 0.1


@pytest.mark.parametrize(
    "family, opts, steps",
    [
        ("openai-vit", (), "Resize(size=32, interpolation=bicubic, max_size=None, antialias=True) CenterCrop"),
        ("transformers-siglip", (), "Resize(size=(32, 32), interpolation=bicubic, max_size=None, antialias=True) ToT"),
        (
            "transformers-siglip",
            ("INPUT.RESIZE", "shortest", "INPUT.INTERPOLATION", "bilinear", "INPUT.OVERRIDE_MODEL", True),
            "Resize(size=32, interpolation=bilinear, max_size=None, antialias=True) CenterCrop(size=(32, 32)) ToT",
        ),
        (
            "openai-vit",
            ("INPUT.RESIZE", "squash", "INPUT.OVERRIDE_MODEL", True, "INPUT.UPRIGHT", True),
            "Resize(size=(32, 32), interpolation=bicubic, max_size=None, antialias=True) ToTensor() Normalize",
        ),
    ],
)
def test_log_shows_the_transforms_of_the_run(family, opts, steps, miniature, toy_root, tmp_path, caplog):
    pairs = ("MODEL.BACKBONE.NAME", miniature(family).name, "FEATURES.TEST_CACHE", False, *opts)
    with caplog.at_level(logging.INFO):
        trainer = build_trainer(toy.config(toy_root, tmp_path / "run", "ZeroshotCLIP", *pairs))
    shown = [" ".join(record.getMessage().split()) for record in caplog.records]
    shown = [text for text in shown if "transform:" in text]
    used = [loader.dataset.transform for loader in (trainer.train_loader_x, trainer.test_loader)]
    assert used[1] is trainer.test_transform
    turned = ", of pictures turned as their EXIF entries say" if "INPUT.UPRIGHT" in opts else ""
    names = ("Training", "Test")
    expected = [f"{name} transform: {' '.join(str(own).split())}{turned}" for name, own in zip(names, used)]
    assert shown == expected and steps in shown[1]
