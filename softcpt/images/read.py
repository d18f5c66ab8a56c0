"""The one reader of images: which files are pictures, and their pixels in RGB."""

import contextlib
import functools
import importlib
import io
import os
import stat
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

# Formats that Pillow, or a plugin of it, decodes by itself. Others are never tried, whatever a file is called: for EPS
# Pillow starts Ghostscript, and IPTC may hold an image of any format.
FORMATS = (
    *("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "BMP", "DIB", "TIFF", "JPEG2000", "PPM", "QOI", "ICO"),
    *("PSD", "DDS", "SUN", "SGI", "PCX", "TGA"),
)
PLUGINS = {"pillow_heif": "register_heif_opener"}  # {module: function that tells Pillow of it}, if it is installed
NEEDS = {
    **dict.fromkeys((".heic", ".heif", ".hif"), "pip install pillow-heif"),
    **dict.fromkeys((".avif", ".avifs"), "Pillow 11.3 or newer"),
}
LONGEST = 100  # times its shorter side: a longer picture takes gigabytes once its shorter side is resized
NO_RANGE = {"I": "32-bit integer", "F": "floating-point"}  # modes whose pixels have no known range
ORIENTATION = 0x0112  # of EXIF
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SHAPES = "(H, W), (H, W, 3) or (H, W, 4)"  # of arrays


@functools.cache
def formats() -> tuple[str, ...]:
    """Those of `FORMATS` that the installed Pillow and its plugins open."""
    Image.init()
    for module, register in PLUGINS.items():
        with contextlib.suppress(ImportError):
            getattr(importlib.import_module(module), register)()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@functools.cache
def suffixes() -> frozenset[str]:
    """The endings of their files, in lower case: ".jpg", ..."""
    known = {*formats(), "MPO"}  # the JPEG of a camera with two lenses, which Pillow opens as JPEG
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in known)


def is_image(name: str) -> bool:
    """Whether a file's name or path has an image's ending and is not hidden."""
    return not os.path.basename(name).startswith(".") and os.path.splitext(name)[1].lower() in suffixes()


def hint(name: str | os.PathLike) -> str:
    """What is missing to read a picture with this ending, in brackets; "" if that is unknown, or nothing."""
    suffix = os.path.splitext(name)[1].lower()
    return f" (to read {suffix}: {NEEDS[suffix]})" if suffix in NEEDS and suffix not in suffixes() else ""


def read_image(path: str | os.PathLike, upright: bool, side: int = 0) -> Image.Image:
    """An image file in RGB; of an animation, the first frame.

    Args:
        upright: whether to turn it as its EXIF entry says.
        side: n > 0: a JPEG may be decoded smaller, as long as no side falls below n pixels.

    Raises OSError, in one line with the file, if it is missing, no regular file or cannot be decoded, if its pixels
    have no known range, and for a picture that is more than `LONGEST` times as long as wide.
    """
    try:
        check_regular(path)
        return _decoded(path, upright, side)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no image {path}") from error
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise OSError(f"cannot read the image {path} ({reason_of(error)}){hint(path)}") from error


def rgb_of(image: str | os.PathLike | Image.Image | np.ndarray, upright: bool) -> Image.Image:
    """An image file, a Pillow image of any mode, or an array of pixels, in RGB.

    Raises OSError as `read_image` does, and ValueError as `from_array` does.
    """
    if isinstance(image, np.ndarray):
        image = from_array(image)
    if not isinstance(image, Image.Image):
        return read_image(image, upright)
    try:
        return to_rgb(image, upright)
    except Exception as error:  # also of a file that Pillow has not decoded yet
        raise OSError(f"cannot read the image ({reason_of(error)})") from error


def from_array(pixels: np.ndarray) -> Image.Image:
    """A Pillow image of an array of uint8: grey (H, W), RGB (H, W, 3) or RGBA (H, W, 4).

    Raises ValueError, with shape and dtype, for any other array.
    """
    legal = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    if not legal or not pixels.size or pixels.dtype != np.uint8:
        shape = tuple(pixels.shape)
        raise ValueError(f"an array of shape {shape} and dtype {pixels.dtype} is no image: {SHAPES} of uint8 are")
    return Image.fromarray(pixels)


def to_rgb(image: Image.Image, upright: bool) -> Image.Image:
    """An image of any mode in RGB, if `upright` turned as its EXIF entry says. Transparency is dropped.

    Raises ValueError for a mode whose pixels have no known range, and for a picture that is too long.
    """
    check_aspect(*image.size)
    turn = turn_of(image) if upright else None
    if image.mode.startswith("I;16"):
        # Pillow would clip 16-bit grey at 255, so that nearly all of it is white.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in NO_RANGE:
        raise ValueError(f"its pixels are {NO_RANGE[image.mode]} numbers of unknown range: save it with 8 bits")
    image = image.convert("RGB")
    if turn is not None:
        image = image.transpose(turn)
        image.info.clear()  # its EXIF entry, which would turn it again
    return image


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """What makes an image upright; None without an orientation in its EXIF entry, or if that is damaged."""
    try:
        return TURNS.get(image.getexif().get(ORIENTATION))
    except Exception:  # for a damaged entry, Pillow raises a dozen types
        return None


def turned(image: Image.Image) -> Image.Image:
    """An image of any mode, turned as its EXIF entry says."""
    turn = turn_of(image)
    return image if turn is None else image.transpose(turn)


def small_image(path: str | os.PathLike, side: int, upright: bool) -> Image.Image:
    """An image file in RGB, not larger than `side` x `side` pixels. Raises OSError as `read_image` does."""
    small = read_image(path, upright, 2 * side)
    small.thumbnail((side, side))
    return small


def damage_of(content: bytes) -> str:
    """Why the bytes of a file cannot be read as an image, in a few words; "" if they can. All of it is decoded."""
    try:
        _decoded(io.BytesIO(content), upright=False, side=64)  # a JPEG still takes all bytes, but less work
    except Exception as error:
        return reason_of(error)
    return ""


def suffix_of(content: bytes) -> str:
    """The usual ending of an encoded image's file. Raises OSError if it cannot be read."""
    try:
        with Image.open(io.BytesIO(content), formats=formats()) as image:
            name, usual = image.format, f".{(image.format or '').lower()}"
    except Exception as error:
        raise OSError(f"cannot read an image of {len(content):,} bytes ({reason_of(error)})") from error
    own = [suffix for suffix, other in Image.registered_extensions().items() if other == name]
    return usual if usual in own else own[0]


def bytes_of(path: str | os.PathLike) -> bytes:
    """What a file holds. Raises OSError if it is no regular file."""
    check_regular(path)
    return Path(path).read_bytes()


def check_regular(path: str | os.PathLike) -> None:
    """Raise OSError for a pipe, a device or a folder, which might never end, or would wait for a writer."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError("it is no regular file")


def check_aspect(width: int, height: int) -> None:
    if max(width, height) > LONGEST * min(width, height):
        raise ValueError(f"its {width} x {height} pixels are more than {LONGEST} times as long as wide: crop it")


def reason_of(error: Exception) -> str:
    """An error's message in one line, without the name of the file."""
    if isinstance(error, UnidentifiedImageError):
        return f"it is damaged, or in none of the formats {', '.join(formats())}"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def _decoded(file: str | os.PathLike | io.BytesIO, upright: bool, side: int) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on palettes with transparency, and on large images, which are read, too
        with Image.open(file, formats=formats()) as image:
            check_aspect(*image.size)
            if side:
                image.draft("RGB", (side, side))
            image.load()
            return to_rgb(image, upright)
