"""Folders and what is below them."""

import contextlib
import os
from pathlib import Path


def folders_below(place: str | os.PathLike) -> list[Path]:
    """The folder `place` and the visible ones below it, at any depth, through symbolic links, too.

    Each real folder is there once, whatever links lead to it, by its own path if that is below `place`. So a link to a
    folder above it ends nowhere. Folders that cannot be read are left out.
    """
    found: dict[tuple[int, int], Path] = {}
    waiting, links = [Path(place)], list[Path]()
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop()
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            status = os.stat(folder)
            key = status.st_dev, status.st_ino
            if key in found:
                continue
            found[key] = folder
            for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
                if not entry.name.startswith(".") and entry.is_dir():
                    (links if entry.is_symlink() else waiting).append(folder / entry.name)
    return list(found.values())
