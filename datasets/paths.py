"""Names and paths in users' files: the same name in any Unicode form, and paths that stay in their folder.

Symbolic links may lead anywhere.
"""

import os
from collections.abc import Iterable

from softcpt.files.messages import summary
from softcpt.files.texts import in_utf8, nfc


def by_name(names: Iterable[str], folder: str) -> dict[str, str]:
    """{name in NFC: name on disk}, in the given order. Raises ValueError for two names that are one in NFC."""
    found: dict[str, str] = {}
    for name in names:
        other = found.setdefault(nfc(name), name)
        if other != name:
            raise one_name(folder, other, name)
    return found


def one_name(folder: str, *names: str) -> ValueError:
    """The error for two names on disk that are shown alike; the message shows what they consist of."""
    shown = " and ".join(map(ascii, sorted(names)))
    return ValueError(f"{folder}: {shown} are the same name, {nfc(names[0])!r}, in two Unicode forms: remove one")


def not_in_utf8(paths: Iterable[str], source: str) -> list[str]:
    """One message on the files and folders whose own name is not UTF-8, which no file of a run could hold, or none."""
    found: dict[str, None] = {}
    for path in paths:
        if not path.isascii() and not in_utf8(path):
            parts = path.split(os.sep)
            end = next(end for end, part in enumerate(parts, start=1) if not in_utf8(part))
            found[os.sep.join(parts[:end])] = None
    return [f"{source}: rename what is not named in UTF-8: {summary(list(found))}"] if found else []


class Listings(dict[str, frozenset[str]]):
    """{folder: the names in it}, empty for a missing folder. Listing each once is faster than a stat per image."""

    def __init__(self) -> None:
        self.forms: dict[str, dict[str, list[str]]] = {}  # {folder: {name in NFC: names on disk}}

    def __missing__(self, folder: str) -> frozenset[str]:
        self[folder] = frozenset(os.listdir(folder)) if os.path.isdir(folder) else frozenset()
        return self[folder]

    def find(self, path: str) -> str:
        """A file or folder `path` as it is on disk, where its names may be in another Unicode form; "" if there is
        none. Backslashes separate folders if that is the only way to find it.

        Raises ValueError if two names on disk are the same.
        """
        found = self._find(path)
        return self._find(path.replace("\\", "/")) if not found and "\\" in path else found

    def _find(self, path: str) -> str:
        folder, name = os.path.split(path)
        if not name or not folder:
            return ""
        if name in self[folder] and name.isascii():
            return path
        if not self[folder] and not os.path.isdir(folder):
            folder = self._find(folder)
        if folder not in self.forms:
            forms = self.forms[folder] = {}
            for other in self[folder]:
                forms.setdefault(nfc(other), []).append(other)
        same = self.forms[folder].get(nfc(name), [])
        if len(same) > 1:
            raise one_name(folder, *same)
        return os.path.join(folder, same[0]) if same else ""


def leaves(path: str) -> bool:
    """Whether a relative path might lead out of its folder."""
    path = path.replace("\\", "/")
    return os.path.isabs(path) or ".." in path.split("/")


def check_inside(paths: Iterable[str], folder: str, source: str) -> None:
    """Raise ValueError for a path that, as written, lies outside `folder`."""
    start = os.path.join(folder, "")
    for path in paths:
        inside = path.startswith(start)
        rest = path[len(start) :].replace("\\", "/")
        if not inside or (".." in rest and not os.path.normpath(start + rest).startswith(start)):
            raise ValueError(f"{source}: names the image {path}, which lies outside {folder}")


def relative(path: str, root: str) -> str:
    """A path with forward slashes, relative to `root` unless that is ""."""
    start = os.path.join(root, "") if root else ""
    if start and path.startswith(start) and os.path.normpath(path) == path:  # the usual case, many times faster
        return path[len(start) :].replace(os.sep, "/")
    return (os.path.relpath(path, root) if root else path).replace(os.sep, "/")
