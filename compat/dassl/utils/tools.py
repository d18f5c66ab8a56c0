"""Files, images, seeds, and the versions that are installed."""

import json
import os
import platform
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import PIL
import torch
from PIL import Image

PROGRAMS = ("EPS", "IPTC")  # Pillow has Ghostscript run EPS, also within IPTC


def mkdir_if_missing(dirname: str) -> None:
    """Create `dirname` and its parents; an existing folder, or "" for the current one, is fine."""
    if dirname:
        os.makedirs(dirname, exist_ok=True)


def check_isfile(fpath: str) -> bool:
    """Whether `fpath` is a file; warns when it is not."""
    found = os.path.isfile(fpath)
    if not found:
        warnings.warn(f'No file at "{fpath}"', stacklevel=2)
    return found


def listdir_nohidden(path: str, sort: bool = False) -> list[str]:
    """Names in the folder `path` that do not start with a dot."""
    names = [name for name in os.listdir(path) if not name.startswith(".")]
    return sorted(names) if sort else names


@contextmanager
def written_atomically(fpath: str) -> Iterator[BinaryIO]:
    """A context with a binary file in the same folder, which on success is flushed to the disk and renamed `fpath`."""
    temporary = os.path.join(os.path.dirname(fpath), f".{os.path.basename(fpath)}.{os.getpid()}.softcpt-tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, fpath)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def read_json(fpath: str) -> Any:
    """The content of a JSON file. Raises ValueError, naming the file, if it is not JSON."""
    with open(fpath, encoding="utf-8") as file:
        try:
            return json.load(file)
        except json.JSONDecodeError as error:
            raise ValueError(f"{fpath} is not a JSON file: {error}") from error


def write_json(obj: Any, fpath: str) -> None:
    """Write `obj` as indented JSON, atomically."""
    mkdir_if_missing(os.path.dirname(fpath))
    with written_atomically(fpath) as file:
        file.write(json.dumps(obj, indent=4).encode())


def read_image(path: str) -> Image.Image:
    """The image at `path`, decoded, in RGB.

    Raises FileNotFoundError or OSError, naming the file.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'No image file at "{path}"')
    Image.init()
    try:
        with Image.open(path, formats=[name for name in Image.OPEN if name not in PROGRAMS]) as image:
            if image.mode.startswith("I;16"):  # Pillow clips 16-bit grey at 255: nearly all of it would be white
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            elif image.mode in ("I", "F"):
                raise ValueError(f"mode {image.mode}: its pixels have no known range; save it with 8 bits")
            return image.convert("RGB")
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise OSError(f'Cannot decode the image file "{path}" ({error}); replace or remove it') from error


def set_random_seed(seed: int) -> None:
    """Seed Python, NumPy and PyTorch (all GPUs)."""
    for seed_generator in (random.seed, np.random.seed, torch.manual_seed, torch.cuda.manual_seed_all):
        seed_generator(seed)


def collect_env_info() -> str:
    """Versions of Python and the libraries, and the devices, one per line."""
    import torchvision

    lines = [
        f"Python {sys.version.split()[0]} on {platform.platform()}",
        f"PyTorch {torch.__version__}, torchvision {torchvision.__version__}, NumPy {np.__version__}, "
        f"Pillow {PIL.__version__}",
        f"CUDA build {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}",
        f"CPU threads: {torch.get_num_threads()} of {os.cpu_count()}",
    ]
    lines += [f"GPU {i}: {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    return "\n".join(lines)
