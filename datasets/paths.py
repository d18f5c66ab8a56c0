"""Checks that the paths in users' files stay in their folder. Symbolic links may lead anywhere."""

import os
from collections.abc import Iterable


class Listings(dict[str, frozenset[str]]):
    """{folder: the names in it}, empty for a missing folder. Listing each once is faster than a stat per image."""

    def __missing__(self, folder: str) -> frozenset[str]:
        self[folder] = frozenset(os.listdir(folder)) if os.path.isdir(folder) else frozenset()
        return self[folder]

    def has(self, path: str) -> bool:
        """Whether a file or folder `path` exists."""
        folder, name = os.path.split(path)
        return name in self[folder]


def leaves(path: str) -> bool:
    """Whether a relative path might lead out of its folder."""
    return os.path.isabs(path) or ".." in path.replace(os.sep, "/").split("/")


def check_inside(paths: Iterable[str], folder: str, source: str) -> None:
    """Raise ValueError for a path that, as written, lies outside `folder`."""
    start = os.path.join(folder, "")
    for path in paths:
        if not path.startswith(start) or ("/.." in path and not os.path.normpath(path).startswith(start)):
            raise ValueError(f"{source}: names the image {path}, which lies outside {folder}")


def relative(path: str, root: str) -> str:
    """A path with forward slashes, relative to `root` unless that is ""."""
    start = os.path.join(root, "") if root else ""
    if start and path.startswith(start) and os.path.normpath(path) == path:  # the usual case, many times faster
        return path[len(start) :].replace(os.sep, "/")
    return (os.path.relpath(path, root) if root else path).replace(os.sep, "/")
