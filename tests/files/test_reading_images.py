"""The one reader of images: formats, endings, hostile files, arrays."""

import ast
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from datasets import raw
from datasets.layout import read_classes
from softcpt.images import read as images
from softcpt.images.read import damage_of, from_array, is_image, read_image, rgb_of, small_image, suffix_of

ROOT = Path(__file__).resolve().parents[2]
COLOUR = (200, 40, 90)


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", (40, 30), COLOUR).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def opens_images(tree):
    """The lines on which a file calls Pillow's `open`, under whatever name."""
    names = {"Image.open", "PIL.Image.open"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "PIL":
            names |= {f"{alias.asname or alias.name}.open" for alias in node.names}
            names |= {alias.asname or alias.name for alias in node.names if alias.name == "open"}
    return [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) in names]


def test_one_file_opens_images():
    """But Dassl's own reader in compat/, which stands alone."""
    folders = [path for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "." and path.name != "tests"]
    paths = [*ROOT.glob("*.py"), *(path for folder in folders for path in folder.rglob("*.py"))]
    found = {p.relative_to(ROOT).as_posix(): opens_images(ast.parse(p.read_text(encoding="utf-8"))) for p in paths}
    users = {path for path, lines in found.items() if lines}
    assert users == {"softcpt/images/read.py", "compat/dassl/utils/tools.py"}


@pytest.mark.parametrize("name", ["a.jpg", "b.JPEG", "c.jfif", "d.png", "e.webp", "f.tif", "g.jp2", "x/h.PPM", "i.bmp"])
def test_what_pillow_opens_is_an_image(name, tmp_path):
    assert is_image(name) and raw.is_image is is_image
    path = tmp_path / Path(name).name
    Image.new("RGB", (40, 30), COLOUR).save(path)
    assert np.abs(np.asarray(read_image(path, True)).astype(int) - COLOUR).max() < 6


def test_avif_is_an_image_where_pillow_opens_it(tmp_path):
    known = ".avif" in Image.registered_extensions()
    assert is_image("a.avif") == known
    if known:
        Image.new("RGB", (40, 30), COLOUR).save(tmp_path / "a.avif")
        assert read_image(tmp_path / "a.avif", True).size == (40, 30)


def test_other_files_are_no_images():
    names = (
        "a.pdf",
        "a.eps",
        "a.ps",
        "a.wmf",
        "a.h5",
        "a.mpg",
        "a.txt",
        "a",
        ".a.png",
        "x/.a.png",
        "png",
        "a.png.part",
    )
    assert [name for name in names if is_image(name)] == []


def test_missing_plugin_is_named(tmp_path, monkeypatch):
    if ".heic" in images.suffixes():
        monkeypatch.setattr(images, "suffixes", lambda: {".png"})
    (tmp_path / "task" / "class").mkdir(parents=True)
    path = tmp_path / "task" / "class" / "a.HEIC"
    path.write_bytes(b"no picture that Pillow knows")
    assert not is_image("a.HEIC")
    for read in (lambda: read_image(path, True), lambda: read_classes(str(path.parents[1]))):
        with pytest.raises((OSError, ValueError), match="a.HEIC.*to read .heic: pip install pillow-heif"):
            read()
    assert images.hint("a.png") == images.hint("a.txt") == ""


class HeifStandIn(ImageFile.ImageFile):
    """A format that a plugin decodes: one red pixel."""

    format = "HEIF"

    def _open(self):
        self._size, self._mode, self.tile = (1, 1), "RGB", []
        self.im = Image.new("RGB", (1, 1), "red").im


@pytest.fixture
def plugin(monkeypatch):
    """The package pillow_heif, installed."""
    opens, known = dict(Image.OPEN), dict(Image.EXTENSION)
    monkeypatch.setattr(Image, "OPEN", opens)
    monkeypatch.setattr(Image, "EXTENSION", known)
    monkeypatch.setattr(Image, "ID", list(Image.ID))

    def register_heif_opener():
        Image.register_open("HEIF", HeifStandIn, lambda start: start.startswith(b"heif"))
        Image.register_extension("HEIF", ".heic")

    monkeypatch.setitem(sys.modules, "pillow_heif", type(sys)("pillow_heif"))
    sys.modules["pillow_heif"].register_heif_opener = register_heif_opener
    clear = images.formats.cache_clear, images.suffixes.cache_clear
    [one() for one in clear]
    yield
    [one() for one in clear]


def test_installed_plugin_is_used(plugin, tmp_path):
    (tmp_path / "a.heic").write_bytes(b"heif: a stand-in")
    assert is_image("a.heic") and "HEIF" in images.formats()
    assert read_image(tmp_path / "a.heic", True).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("format", ["EPS", "IPTC", "WMF", "MPEG", "HDF5", "GRIB", "BUFR", "FITS"])
def test_formats_that_need_programs_or_handlers_are_never_tried(format):
    assert format not in images.formats()


# -- what is refused -------------------------------------------------------------------------------------------------


def one_line(read, path):
    with pytest.raises(OSError) as error:
        read(path)
    assert str(path) in str(error.value) and len(str(error.value).splitlines()) == 1
    return str(error.value)


@pytest.mark.parametrize("size", [(1, 100_000), (100_000, 1), (3, 301)])
def test_strip_is_refused_before_it_is_resized(size, tmp_path):
    """Its shorter side resized to 224 pixels, the first has 5 thousand million."""
    Image.new("RGB", size).save(tmp_path / "strip.png")
    text = one_line(lambda path: read_image(path, True), tmp_path / "strip.png")
    assert f"its {size[0]} x {size[1]} pixels are more than 100 times as long as wide" in text
    assert "more than 100 times" in damage_of((tmp_path / "strip.png").read_bytes())
    for passed in (Image.new("L", size), np.zeros(size, np.uint8)):
        with pytest.raises(OSError, match="more than 100 times"):
            rgb_of(passed, True)


def test_widest_panorama_is_read(tmp_path):
    Image.new("RGB", (3000, 30)).save(tmp_path / "panorama.png")
    assert read_image(tmp_path / "panorama.png", True).size == (3000, 30)


def test_pipe_device_socket_and_folder_are_refused_and_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.png")
    Path("folder.png").mkdir()
    Path("device.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as some:
        some.bind("socket.png")
        for name in ("pipe.png", "folder.png", "device.png", "socket.png"):
            assert "no regular file" in one_line(lambda path: read_image(path, True), name)
            with pytest.raises(OSError, match="no regular file"):
                images.bytes_of(name)


@pytest.mark.parametrize(
    "error", [IndexError("a\nb"), SystemError("c"), MemoryError(), RecursionError("d"), KeyError(1)]
)
def test_any_error_of_a_decoder_is_one_line_with_the_file(error, picture, monkeypatch):
    def load(self):
        raise error

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    text = one_line(lambda path: read_image(path, True), picture)
    assert (" ".join(str(error).split()) or "MemoryError") in text
    assert damage_of(picture.read_bytes())
    with pytest.raises(OSError), Image.open(picture) as lazy:
        rgb_of(lazy, True)


NO_PROGRAM = """
import sys
events = []
sys.addaudithook(lambda event, args: events.append(event) if event in ("subprocess.Popen", "os.system") else None)
from softcpt.images.read import damage_of, read_image, small_image, suffix_of
content = open(sys.argv[1], "rb").read()
for call in (read_image, small_image):
    try:
        call(sys.argv[1], True) if call is read_image else call(sys.argv[1], 64, True)
        raise SystemExit("read")
    except OSError as error:
        assert "in none of the formats" in str(error), error
assert damage_of(content)
assert events == [], events
"""


@pytest.mark.parametrize("name", ["a.png", "a.eps", "a.ps", "a.jpg"])
def test_postscript_starts_no_program(name, tmp_path):
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / name).write_bytes(eps)
    done = subprocess.run([sys.executable, "-c", NO_PROGRAM, str(tmp_path / name)], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


# -- arrays, small images, endings -----------------------------------------------------------------------------------


def test_arrays_are_read_as_pillow_reads_them():
    pixels = np.arange(4 * 6 * 4, dtype=np.uint8).reshape(4, 6, 4)
    assert (np.asarray(rgb_of(pixels[..., :3], True)) == pixels[..., :3]).all()
    assert (np.asarray(rgb_of(pixels, True)) == pixels[..., :3]).all()  # transparency is dropped
    assert (np.asarray(rgb_of(pixels[..., 0], True)) == pixels[..., :1]).all()


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4, 3)), np.zeros((4, 4, 3), np.uint16), np.zeros((4, 4), bool), np.zeros((3, 4, 5), np.uint8)]
    + [np.zeros(4, np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((2, 4, 4, 3), np.uint8)],
    ids=lambda pixels: f"{pixels.dtype}{pixels.shape}",
)
def test_other_arrays_are_refused_with_shape_and_dtype(pixels):
    with pytest.raises(ValueError) as error:
        from_array(pixels)
    assert f"shape {pixels.shape} and dtype {pixels.dtype} is no image" in str(error.value)


def test_small_images_keep_the_aspect(tmp_path):
    Image.new("RGB", (1600, 800), COLOUR).save(tmp_path / "a.jpg")
    found = small_image(tmp_path / "a.jpg", 72, True)
    assert found.size == (72, 36) and np.abs(np.array(found.getpixel((3, 3))) - COLOUR).max() < 4


@pytest.mark.parametrize(("suffix", "expected"), [(".png", ".png"), (".jp2", ".jp2"), (".jfif", ".jpeg")])
def test_encoded_images_get_an_ending_that_is_read(suffix, expected, tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / f"a{suffix}")
    assert suffix_of((tmp_path / f"a{suffix}").read_bytes()) == expected and is_image(f"a{expected}")
    with pytest.raises(OSError, match="cannot read an image of 3 bytes"):
        suffix_of(b"abc")
