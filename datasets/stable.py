"""The split of users' own images, by a hash of their names, so that a new or lost image moves no other.

The hash of an image's name is a number in [0, 1): below 0.5 it is a training image, below 0.7 a validation image, else
a test image. Only in a class that would have no image in a part, that part takes one image from the fullest other
part: the one whose number is nearest. Such an image may return when images are added; no other ever moves.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence

from softcpt.files.texts import counted, nfc

from .paths import Listings, relative
from .splits import PARTS, Items, group_by_label

ENDS = {"train": 0.5, "val": 0.7, "test": 1.0}  # of the parts' intervals
LEAST = 3  # images of a class, one for each part


def number_of(name: str) -> float:
    """The number, in [0, 1), of an image's name: its path below the task's folder, with forward slashes."""
    content = nfc(name).encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(content, digest_size=6).digest(), "big") / 2**48


def parts_of(names: Sequence[str], kept: Sequence[str] = (), legal: Sequence[str] = PARTS) -> tuple[list[str], int]:
    """The parts of new images of one class, and how many of them were moved since a part would be empty.

    Args:
        names: of the new images, see `number_of`.
        kept: the parts of the images that the class already has, which stay.
        legal: the parts that the task has; without val its images are training images.
    """
    numbers = [number_of(name) for name in names]
    hashed = [next(part for part, end in ENDS.items() if number < end) for number in numbers]
    parts = [part if part in legal else "train" for part in hashed]
    moved = 0
    for part in legal:
        counts = Counter([*kept, *parts])
        donors = [donor for donor in legal if counts[donor] > 1 and donor in parts]
        if counts[part] or not donors:
            continue
        fullest = max(donors, key=lambda donor: counts[donor])
        start = ENDS[PARTS[PARTS.index(part) - 1]] if part != "train" else 0.0
        gaps = [max(start - number, number - ENDS[part]) for number in numbers]
        nearest = min((gap, names[i], i) for i, gap in enumerate(gaps) if parts[i] == fullest)[2]
        parts[nearest] = part
        moved += 1
    return parts, moved


def split_by_name(items: Items, folder: str, root: str) -> tuple[tuple[Items, Items, Items], list[str]]:
    """The train, val and test images of a task, and the names of the classes in which an image had to be moved.

    `folder` is the task's, below `root`. Raises ValueError for classes of fewer than three images.
    """
    groups = sorted(group_by_label(items).items())
    few = [group for _, group in groups if len(group) < LEAST]
    small = [f"class {group[0].classname!r} has {counted(len(group), 'image')}" for group in few]
    if small:
        raise ValueError(f"{', '.join(small)}: {LEAST} are needed to split a class")
    lists: dict[str, Items] = {part: [] for part in PARTS}
    filled = []
    for _, group in groups:
        parts, moved = parts_of([name_of(item.impath, folder, root) for item in group])
        for item, part in zip(group, parts):
            lists[part].append(item)
        filled += [group[0].classname] * bool(moved)
    return (lists["train"], lists["val"], lists["test"]), filled


def name_of(image: str, folder: str, root: str) -> str:
    """The name of an image for `number_of`: its path below the task's folder, or the whole path if outside `root`."""
    return relative(image, folder) if image.startswith(os.path.join(root, "")) else image


def folder_of(task: str, root: str) -> str:
    """The folder below which the images of a table's task are named: the task's own, or else the root."""
    return Listings().find(os.path.join(root, task)) or root
