"""Pictures of every kind and state: what training and predicting read of them, or the one error."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from dassl.utils import read_image as read_for_training
from fuzz.hostile import Reader as HostileReader
from fuzz.hostile import damaged, fuzz, limited
from PIL import Image

from inference.images import read_image as read_for_predicting

READERS = pytest.mark.parametrize("read", [read_for_training, read_for_predicting], ids=["training", "predicting"])
RED, BLUE = (250, 10, 10), (10, 10, 250)


def picture(size=(32, 24)):
    """Red above, blue below."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (0, size[1] // 2, *size))
    return image


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif_of(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


PALETTE = picture().quantize(4)
KINDS = {
    "CMYK.jpg": encoded(picture().convert("CMYK"), "JPEG"),
    "palette.png": encoded(PALETTE, "PNG", transparency=0),
    "palette.gif": encoded(PALETTE, "GIF"),
    "animated.gif": encoded(PALETTE, "GIF", save_all=True, append_images=[Image.new("RGB", (32, 24)).quantize(2)]),
    "a-png.jpg": encoded(picture(), "PNG"),
    "a-jpeg.gif": encoded(picture(), "JPEG"),
    "alpha.png": encoded(picture().convert("RGBA"), "PNG"),
    "tiles.tiff": encoded(picture(), "TIFF", compression="tiff_lzw"),
    "picture.webp": encoded(picture(), "WEBP"),
    "picture.bmp": encoded(picture(), "BMP"),
    "picture.ppm": encoded(picture(), "PPM"),
}


def is_picture(image):
    """Whether it is red above and blue below, within what compression changes."""
    pixels = np.asarray(image, dtype=int)
    above, below = pixels[:10], pixels[-10:]
    return image.mode == "RGB" and abs(above - RED).mean() < 16 and abs(below - BLUE).mean() < 16


@READERS
@pytest.mark.parametrize("name", KINDS)
def test_image_of_any_kind_and_name_is_read(name, read, tmp_path):
    (tmp_path / name).write_bytes(KINDS[name])
    assert is_picture(read(str(tmp_path / name)))


@READERS
def test_16_bit_images_keep_their_grey(read, tmp_path):
    grey = np.full((8, 8), 0x8012, np.uint16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    assert set(np.asarray(read(str(tmp_path / "deep.png"))).flatten()) == {0x80}


def test_predicting_applies_exif_and_training_does_not(tmp_path):
    path = tmp_path / "turned.jpg"
    picture().rotate(180).save(path, exif=exif_of(3))
    assert is_picture(read_for_predicting(path))
    assert is_picture(read_for_training(str(path)).rotate(180))


def bomb(width, height):
    """A PNG of 200 bytes that says it is of this size."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(99))),
        (b"IEND", b""),
    ]
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(/tmp/x) (w) file\nshowpage\n%%EOF\n"
BROKEN = {
    "empty.jpg": b"",
    "text.png": b"no picture",
    "cut.jpg": KINDS["a-jpeg.gif"][:-300],
    "cut.png": KINDS["a-png.jpg"][:70],
    "bomb.png": bomb(60_000, 60_000),
    "wide.png": bomb(2**31 - 1, 1),
    "program.jpg": EPS,
    "float.tiff": encoded(Image.new("F", (4, 4)), "TIFF"),
}


@READERS
@pytest.mark.parametrize("name", BROKEN)
def test_broken_image_error_names_the_file(name, read, tmp_path):
    (tmp_path / name).write_bytes(BROKEN[name])
    with limited(), pytest.raises(OSError, match=name):
        read(str(tmp_path / name))


def test_no_program_is_run_for_an_image(tmp_path, monkeypatch):
    """Pillow would hand PostScript, whatever its file is called, to Ghostscript."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/run\n")
    (tmp_path / "bin/gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (tmp_path / "x.jpg").write_bytes(EPS)
    for read in (read_for_training, read_for_predicting):
        with pytest.raises(OSError, match="EPS is a program"):
            read(str(tmp_path / "x.jpg"))
    assert not (tmp_path / "run").exists()


def any_picture(read):
    def mode(path):
        image = read(str(path))
        return image.mode, image.size[0] * image.size[1] < 2 * Image.MAX_IMAGE_PIXELS + 1

    return mode


def check(name, read, cases, folder):
    reader = HostileReader(name, any_picture(read), lambda _: ("RGB", True), damaged(KINDS[name]))
    found = fuzz(reader, cases, folder)
    print(f"\n| {name} | {sum(found.values()):,} | {found['read']:,} | {found['refused']:,} |", end="")


@READERS
@pytest.mark.parametrize("name", ["CMYK.jpg", "palette.png", "animated.gif", "tiles.tiff", "picture.webp"])
def test_damaged_image_is_rgb_or_an_error(name, read, tmp_path):
    check(name, read, 100, tmp_path)


@pytest.mark.slow
@READERS
@pytest.mark.parametrize("name", ["CMYK.jpg", "palette.png", "animated.gif", "tiles.tiff", "picture.webp"])
def test_so_are_2000_damaged_pictures(name, read, tmp_path):
    check(name, read, 2000, tmp_path)
