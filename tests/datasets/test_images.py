"""Images of every mode and format are read correctly."""

import os
import warnings

import numpy as np
import pytest
import torch
from dassl.utils import read_image as read_by_dassl
from PIL import Image

from datasets.splits import datum
from datasets.tools.check import examine
from datasets.tools.on_disk import Contents
from datasets.tools.pictures import samples_figure
from softcpt.backbones.config import Preprocessing
from softcpt.images.read import read_image, rgb_of
from softcpt.inference.images import find_images, image_batches, transform_of
from softcpt.tasks import Task

RAMP = np.add.outer(np.arange(0, 128, 4), np.arange(0, 128, 4)).astype(np.uint8)  # (32, 32), 0 to 248
COLOURS = np.stack([RAMP, 255 - RAMP, np.full_like(RAMP, 90)], axis=2)


def rgb():
    return Image.fromarray(COLOURS)


def read_upright(path):
    return read_image(path, True)


def read_as_stored(path):
    return read_image(path, False)


def close(image, expected, tolerance=0):
    found = np.asarray(image).astype(int)
    assert image.mode == "RGB" and found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance


def grey(values):
    return np.repeat(np.asarray(values)[:, :, None], 3, axis=2)


def with_alpha():
    image = rgb().convert("RGBA")
    image.putalpha(Image.fromarray(RAMP))
    return image


def palette():
    image = rgb().quantize(64)
    image.info["transparency"] = bytes([0] * 8 + [255] * 56)
    return image


MODES = {
    "bilevel": ("a.png", lambda: Image.fromarray(RAMP > 100), grey(255 * (RAMP > 100)), 0),
    "grey": ("a.png", lambda: Image.fromarray(RAMP), grey(RAMP), 0),
    "grey with alpha": ("a.png", lambda: with_alpha().convert("LA"), grey(np.asarray(rgb().convert("L"))), 1),
    "colours with alpha": ("a.png", with_alpha, COLOURS, 0),
    "palette": ("a.png", lambda: rgb().quantize(64), np.asarray(rgb().quantize(64).convert("RGB")), 0),
    "palette with transparency": ("a.png", palette, np.asarray(rgb().quantize(64).convert("RGB")), 0),
    "16 bits": ("a.png", lambda: Image.fromarray(RAMP.astype(np.uint16) * 257), grey(RAMP), 0),
    "16 bits in a TIFF": ("a.tiff", lambda: Image.fromarray(RAMP.astype(np.uint16) * 257), grey(RAMP), 0),
    "CMYK": ("a.tiff", lambda: rgb().convert("CMYK"), COLOURS, 1),
    "CMYK in a JPEG": ("a.jpg", lambda: rgb().convert("CMYK"), COLOURS, 16),
    "YCbCr": ("a.jpg", lambda: rgb().convert("YCbCr"), COLOURS, 16),
    "another suffix": ("a.jpg", rgb, COLOURS, 0),
    "BMP": ("a.bmp", rgb, COLOURS, 0),
    "PPM": ("a.ppm", rgb, COLOURS, 0),
    "WEBP": ("a.webp", rgb, COLOURS, 24),
    "GIF": ("a.gif", lambda: rgb().quantize(64), np.asarray(rgb().quantize(64).convert("RGB")), 0),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("read", [read_upright, read_as_stored, read_by_dassl], ids=["upright", "as stored", "Dassl"])
def test_every_mode_is_read_correctly(tmp_path, mode, read):
    name, make, expected, tolerance = MODES[mode]
    path, image = tmp_path / name, make()
    image.save(path, format="PNG" if mode == "another suffix" else None, **dict(image.info))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if read is read_by_dassl else "error")
        close(read(str(path)), expected, tolerance)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_first_frame_of_an_animation_is_used(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    close(read_upright(tmp_path / f"a.{suffix}"), np.full((8, 8, 3), (255, 0, 0)), 2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_a_picture_only_where_it_is_asked_for(tmp_path, orientation):
    stored = {
        1: lambda x: x, 2: np.fliplr, 3: lambda x: np.rot90(x, 2), 4: np.flipud, 5: lambda x: x.swapaxes(0, 1),
        6: np.rot90, 7: lambda x: np.rot90(x, 2).swapaxes(0, 1), 8: lambda x: np.rot90(x, -1),
    }[orientation](COLOURS[:20])  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    turned = read_upright(tmp_path / "a.png")
    close(turned, COLOURS[:20])
    close(rgb_of(turned, True), COLOURS[:20])  # not again
    with Image.open(tmp_path / "a.png") as passed:
        close(rgb_of(passed, True), COLOURS[:20])
        close(rgb_of(passed, False), stored)
    for read in (read_as_stored, read_by_dassl):
        close(read(str(tmp_path / "a.png")), stored)


def test_damaged_exif_is_ignored(tmp_path):
    rgb().save(tmp_path / "a.png", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff garbage")
    close(read_upright(tmp_path / "a.png"), COLOURS)


def test_batches_keep_the_order_and_report_errors(tmp_path):
    for i in (0, 1, 3, 4):
        Image.fromarray(np.full((8, 8, 3), 60 * i, np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "2.png").write_bytes(b"no image")
    (tmp_path / "5.png").write_bytes(b"")
    paths = find_images([tmp_path])
    plain = transform_of(Preprocessing((8, 8), (0.0,) * 3, (1.0,) * 3))
    for workers in (0, 1):
        batches = list(image_batches(paths, plain, True, batch_size=2, workers=workers))
        assert [batch.positions for batch in batches] == [[0, 1], [3], [4]]
        assert [[position for position, _ in batch.errors] for batch in batches] == [[], [2], [5]]
        assert "2.png" in batches[1].errors[0][1]
        shades = torch.cat([batch.images[:, 0, 0, 0] for batch in batches])
        torch.testing.assert_close(255 * shades, torch.tensor([0.0, 60, 180, 240]))


def test_images_are_cropped_or_squashed_and_normalised():
    wide = Image.fromarray(np.repeat(np.repeat(np.uint8([[0, 100, 200]]), 8, 0), 8, 1)).convert("RGB")  # (8, 24)
    crop = transform_of(Preprocessing((8, 8), (0.5,) * 3, (0.25,) * 3, "nearest"))(wide)
    torch.testing.assert_close(crop, torch.full((3, 8, 8), (100 / 255 - 0.5) / 0.25))
    squashed = transform_of(Preprocessing((3, 3), (0.0,) * 3, (1.0,) * 3, "nearest", "squash"))(wide)
    torch.testing.assert_close(255 * squashed[0], torch.tensor([[0.0, 100, 200]]).expand(3, 3))


def test_check_names_what_training_would_refuse(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    Image.new("RGB", (1, 101)).save(tmp_path / "strip.png")
    Image.new("F", (4, 4)).save(tmp_path / "float.tiff")
    (tmp_path / "text.jpg").write_text("no picture")
    rgb().save(tmp_path / "good.png")
    reasons = {"pipe.png": "no regular file", "strip.png": "more than 100 times as long", "float.tiff": "unknown range"}
    for name, reason in {**reasons, "text.jpg": "in none of the formats JPEG, PNG"}.items():
        assert reason in examine(str(tmp_path / name))[2]
        with pytest.raises(OSError, match=name):
            read_as_stored(tmp_path / name)
    assert examine(str(tmp_path / "good.png"))[2] == ""


def test_damaged_sample_leaves_its_place_empty(tmp_path):
    rgb().save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    items = [datum(str(tmp_path / name), label, name[0]) for label, name in enumerate(("a.png", "b.png"))]
    figure = samples_figure([Contents("letters", Task("letters", ("a", "b")), ([], [], items))])
    axes = figure.subfigs[0].axes
    assert [len(one.images) for one in axes] == [1, 0] and axes[1].texts[0].get_text() == "cannot be read"
