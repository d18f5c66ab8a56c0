"""Broken and damaged images: both readers, the project's and Dassl's, read them as RGB, or raise one error that names
the file."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from dassl.utils import read_image as read_by_dassl
from fuzz.hostile import CASES, SEED, damaged, fuzz, limited
from fuzz.hostile import Reader as HostileReader
from PIL import Image

from softcpt.images.read import read_image as read_strictly


def read_upright(path):
    return read_strictly(path, True)


READERS = pytest.mark.parametrize("read", [read_by_dassl, read_upright], ids=["Dassl", "upright"])


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


PICTURE = Image.new("RGB", (32, 24), (250, 10, 10))
PICTURE.paste((10, 10, 250), (0, 12, 32, 24))
PALETTE = PICTURE.quantize(4)
DAMAGED = {
    "CMYK.jpg": encoded(PICTURE.convert("CMYK"), "JPEG"),
    "palette.png": encoded(PALETTE, "PNG", transparency=0),
    "animated.gif": encoded(PALETTE, "GIF", save_all=True, append_images=[Image.new("RGB", (32, 24)).quantize(2)]),
    "tiles.tiff": encoded(PICTURE, "TIFF", compression="tiff_lzw"),
    "picture.webp": encoded(PICTURE, "WEBP"),
    "picture.bmp": encoded(PICTURE, "BMP"),
    "picture.ico": encoded(PICTURE, "ICO"),
    "picture.tga": encoded(PICTURE, "TGA", compression="tga_rle"),
    "picture.sgi": encoded(PICTURE, "SGI"),
    "picture.pcx": encoded(PICTURE, "PCX"),
    "picture.dds": encoded(PICTURE, "DDS"),
    "picture.ppm": encoded(PICTURE, "PPM"),
    "grey.png": encoded(Image.fromarray(np.full((24, 32), 40_000, np.uint16)), "PNG"),
}


def bomb(width, height):
    """A PNG of 200 bytes that claims to be of this size."""
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
    "cut.jpg": encoded(PICTURE, "JPEG")[:-300],
    "cut.png": encoded(PICTURE, "PNG")[:70],
    "bomb.png": bomb(60_000, 60_000),
    "wide.png": bomb(2**31 - 1, 1),
    "program.jpg": EPS,
    "float.tiff": encoded(Image.new("F", (4, 4)), "TIFF"),
    "integers.tiff": encoded(Image.new("I", (4, 4)), "TIFF"),
}


@READERS
@pytest.mark.parametrize("name", BROKEN)
def test_broken_image_error_names_the_file(name, read, tmp_path):
    (tmp_path / name).write_bytes(BROKEN[name])
    with limited(), pytest.raises(OSError, match=name):
        read(str(tmp_path / name))


@READERS
def test_folder_is_not_an_image(read, tmp_path):
    (tmp_path / "picture.png").mkdir()
    with pytest.raises(OSError, match="picture.png"):
        read(str(tmp_path / "picture.png"))


def test_no_program_is_run_for_an_image(tmp_path, monkeypatch):
    """Pillow would hand PostScript, whatever its file is called, to Ghostscript."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/run\n")
    (tmp_path / "bin/gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (tmp_path / "x.jpg").write_bytes(EPS)
    for read in (read_by_dassl, read_upright):
        with pytest.raises(OSError, match="x.jpg"):
            read(str(tmp_path / "x.jpg"))
    assert not (tmp_path / "run").exists()


@READERS
@pytest.mark.parametrize("cases", [100, pytest.param(CASES, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_image_is_rgb_or_an_error(name, cases, read, tmp_path):
    def mode(path):
        image = read(str(path))
        return image.mode, image.size[0] * image.size[1] < 2 * Image.MAX_IMAGE_PIXELS + 1

    reader = HostileReader(name, mode, lambda _: ("RGB", True), damaged(DAMAGED[name]))
    found = fuzz(reader, cases, tmp_path)
    print(f"\n| {name} | {sum(found.values()):,} | {found['read']:,} | {found['refused']:,} | seed {SEED} |", end="")
