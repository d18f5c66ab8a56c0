"""Paths that files name: they stay in their folder, as they are written. Symbolic links in it lead anywhere."""

import os
from collections.abc import Iterable


def leaves(path: str) -> bool:
    """Whether a relative path may lead out of its folder."""
    return os.path.isabs(path) or ".." in path.replace(os.sep, "/").split("/")


def check_inside(paths: Iterable[str], folder: str, source: str) -> None:
    """Raise ValueError for a path that, as it is written, does not lie in `folder`."""
    start = os.path.join(folder, "")
    for path in paths:
        if not path.startswith(start) or ("/.." in path and not os.path.normpath(path).startswith(start)):
            raise ValueError(f"{source}: names the image {path}, which lies outside {folder}")
