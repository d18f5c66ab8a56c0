"""Readers of raw layouts: folders of images, lists, MATLAB files. Listings are sorted; errors name file and line."""

import glob
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from softcpt.files import line_not_in_utf8
from softcpt.files.messages import nearest, summary
from softcpt.files.texts import nfc
from softcpt.images.read import bytes_of, hint, is_image

from .paths import by_name
from .splits import Items, datum

JUNK = frozenset(("thumbs.db", "desktop.ini", "__macosx"))  # what systems leave in folders, in lower case
MOST_DIGITS = 10  # limit of a class number's digits


def no_image(*names: str) -> str:
    """What to say of files that are no images: "not an image file (.txt)", with all their suffixes."""
    hints = {os.path.splitext(name)[1] or "no suffix": hint(name) for name in names}
    return f"not an image file ({summary(list(hints), text=str)}){''.join(hints.values())}"


def found(folder: str, pattern: str) -> bool:
    """Whether a glob pattern matches a file or folder below `folder`."""
    return next(glob.iglob(os.path.join(glob.escape(folder), pattern)), None) is not None


def list_folder(folder: str) -> tuple[list[str], list[str]]:
    """The names of the sub-folders and files in a folder, without hidden ones and those that systems leave, both sorted
    by their composed form.

    Raises ValueError for two names that differ only in their Unicode form.
    """
    folders, files = list[str](), list[str]()
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and entry.name.lower() not in JUNK:
                (folders if entry.is_dir() else files).append(entry.name)
    by_name((*folders, *files), folder)
    return sorted(folders, key=nfc), sorted(files, key=nfc)


def class_folders(image_dir: str, depth: int = 1, ignored: Sequence[str] = ()) -> list[str]:
    """Paths of the folders `depth` levels below `image_dir`, sorted by their own names."""
    folders = [image_dir]
    for _ in range(depth):
        folders = [os.path.join(folder, name) for folder in folders for name in list_folder(folder)[0]]
    folders = [folder for folder in folders if nfc(os.path.basename(folder)) not in ignored]
    return sorted(folders, key=lambda folder: (nfc(os.path.basename(folder)), nfc(folder)))


def class_items(folders: Iterable[tuple[str, int, str]]) -> Items:
    """The images of class folders: (folder, label, class name). Other files, which some published folders hold, are
    skipped. Raises ValueError for folders without images."""
    items, empty = [], []
    for folder, label, classname in folders:
        own = [name for name in list_folder(folder)[1] if is_image(name)]
        items += [datum(os.path.join(folder, name), label, classname) for name in own]
        empty += [folder] * (not own)
    if empty:
        more = f", and so are {len(empty) - 1:,} more" if len(empty) > 1 else ""
        raise ValueError(f"{empty[0]}: a class folder without images{more}")
    return items


def read_rows(path: str, columns: tuple[str, ...], sep: str | None = " ", optional: int = 0) -> Iterator[tuple]:
    """(line number, fields in NFC) of each non-empty line. The last column takes the rest of the line.

    The last `optional` columns may be missing. Raises ValueError, with the line, for too few fields.
    """
    with open(path, encoding="utf-8") as file:
        try:
            for number, line in enumerate(file, start=1):
                line = nfc(line.strip())
                if not line:
                    continue
                fields = line.split(sep, len(columns) - 1)
                if len(fields) < len(columns) - optional:
                    raise ValueError(f"{path}, line {number}: {line!r} is not '{(sep or ' ').join(columns)}'")
                yield number, fields
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: {line_not_in_utf8(path)}") from error


def label_of(name: str, labels: dict[str, int], path: str, line: int) -> int:
    """The label of the class that a line of an annotation names. Raises ValueError for an unknown class."""
    if name not in labels:
        raise ValueError(f"{path}, line {line}: unknown class {name!r}{nearest(name, labels)}")
    return labels[name]


def number_of(text: str, path: str, line: int) -> int:
    """The label, from 0, of a class that a line of an annotation numbers from 1. Raises ValueError for no number."""
    if not (text.isascii() and text.isdigit() and len(text) < MOST_DIGITS) or int(text) < 1:
        raise ValueError(f"{path}, line {line}: {text[:MOST_DIGITS]!r} is not a class number (1, 2, ...)")
    return int(text) - 1


def read_mat(path: str, key: str):
    """The array `key` of a MATLAB file (up to version 7.2). Raises ValueError for another file or a missing key."""
    import scipy.io

    try:
        content = scipy.io.loadmat(path)
    except FileNotFoundError:
        raise
    except Exception as error:  # SciPy raises many kinds for other files
        raise ValueError(f"{path}: not a MATLAB file that SciPy can read ({error})") from error
    if key not in content:
        known = ", ".join(name for name in content if not name.startswith("__"))
        raise ValueError(f"{path}: no variable {key!r}; it has {known or 'none'}")
    return content[key]


def drop_copies(items: Items, of: Items) -> Items:
    """`items` without copies, whose file has the same bytes as one of `of` or of an earlier item.

    Only files that have the size of another one are read, and none is decoded.
    """
    size = {item.impath: os.path.getsize(item.impath) for item in (*of, *items)}
    number = Counter(size.values())

    def content(path: str) -> bytes | str:
        if number[size[path]] == 1:
            return path
        return hashlib.blake2b(bytes_of(path)).digest()

    seen = {content(item.impath) for item in of}
    kept = []
    for item in items:
        key = content(item.impath)
        if key not in seen:
            kept.append(item)
            seen.add(key)
    return kept
