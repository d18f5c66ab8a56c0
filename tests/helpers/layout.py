"""The content of a miniature of a data set, and its images."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

PER_CLASS = 10  # images per class without official parts: 5 train, 2 val, 3 test
TRAINVAL, TEST = 10, 4  # images per class with an official test part: 8 train, 2 val, 4 test


@dataclass
class Layout:
    """The folder of the images, and {path below it: (label, class name)}."""

    image_dir: Path
    rows: dict[str, tuple[int, str]] = field(default_factory=dict)
    test: set[str] | None = None  # paths of the official test part
    counts: tuple[int, int, int] = (5, 2, 3)  # per class
    annotations: tuple[Path, ...] = ()  # not needed if there is a split file

    def add(self, path: str, label: int, name: str, in_test: bool = False) -> None:
        """Write an image below the folder of the images."""
        write_image(self.image_dir / path)
        self.rows[path] = (label, name)
        if in_test:
            self.test.add(path)

    @property
    def classnames(self) -> list[str]:
        return [name for _, name in sorted(set(self.rows.values()))]


_written = 0


def write_image(path: Path, content: bytes | None = None) -> None:
    """An 8 x 8 image; its bytes differ from all others unless `content` is given."""
    global _written
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        _written += 1
        content = _pixels(path.suffix.lower()) + b"%08d" % _written  # decoders ignore what follows the image
    path.write_bytes(content)


def write_folders(root: Path, tasks: dict[str, tuple[str, ...]], count: int) -> None:
    """Tasks with their classes in folders below `root`, with `count` images each."""
    for task, names in tasks.items():
        for name in names:
            for i in range(count):
                write_image(root / task / name / f"{i}.png")


def _pixels(suffix: str, _cache: dict[str, bytes] = {}) -> bytes:  # noqa: B006
    if suffix not in _cache:
        buffer = io.BytesIO()
        kind = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".tif": "TIFF"}[suffix]
        Image.new("RGB", (8, 8), (200, 120, 40)).save(buffer, kind)
        _cache[suffix] = buffer.getvalue()
    return _cache[suffix]
