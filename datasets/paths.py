"""Paths in files of users: as written they must stay in their folder. Symbolic links may lead anywhere."""

import os
from collections.abc import Iterable


class Listings(dict[str, frozenset[str]]):
    """{folder: the names in it}, empty for a missing folder. Each folder is listed once: a stat per image is slow."""

    def __missing__(self, folder: str) -> frozenset[str]:
        self[folder] = frozenset(os.listdir(folder)) if os.path.isdir(folder) else frozenset()
        return self[folder]

    def has(self, path: str) -> bool:
        """Whether there is a file or folder `path`."""
        folder, name = os.path.split(path)
        return name in self[folder]


def leaves(path: str) -> bool:
    """Whether a relative path may lead out of its folder."""
    return os.path.isabs(path) or ".." in path.replace(os.sep, "/").split("/")


def check_inside(paths: Iterable[str], folder: str, source: str) -> None:
    """Raise ValueError for a path that, as written, is outside of `folder`."""
    start = os.path.join(folder, "")
    for path in paths:
        if not path.startswith(start) or ("/.." in path and not os.path.normpath(path).startswith(start)):
            raise ValueError(f"{source}: names the image {path}, which lies outside {folder}")


def relative(path: str, root: str) -> str:
    """A path relative to `root`, with forward slashes; relative to nothing for ""."""
    return (os.path.relpath(path, root) if root else path).replace(os.sep, "/")
