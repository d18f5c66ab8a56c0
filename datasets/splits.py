"""Split files, few-shot draws and halves of the classes.

They follow CoOp (Zhou et al., "Learning to Prompt for Vision-Language Models", arXiv 2109.01134): the same split file
and seed give the same images.
"""

import json
import logging
import os
import random
import reprlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from dassl.data.datasets import Datum

from softcpt.files import read_json, write_atomically
from softcpt.files.messages import nearest, report, summary
from softcpt.files.texts import HALVES, counted, nfc
from softcpt.tasks import half_of

from .paths import Listings, leaves, not_in_utf8, relative

logger = logging.getLogger(__name__)

Items = list[Datum]
PARTS = ("train", "val", "test")


def check_subsample(which: str) -> None:
    """Raise ValueError unless `which` is a legal value of `DATASET.SUBSAMPLE_CLASSES`."""
    if which not in HALVES:
        use = f"use one of {', '.join(HALVES)}{nearest(which, HALVES)}"
        raise ValueError(f"DATASET.SUBSAMPLE_CLASSES is {which!r}: {use}")


def read_split(path: str, image_dir: str, problems: list[str] | None = None) -> tuple[Items, Items, Items]:
    """Read a split file in CoOp's format: {part: [[path relative to `image_dir`, label, class name], ...]}.

    A list `problems` collects what does not prevent reading.

    Raises:
        ValueError: a malformed file, or a training image in another part.
        FileNotFoundError: missing images.
    """
    split = read_json(path)
    if not isinstance(split, dict):
        raise ValueError(f"{path}: expected an object with the keys {', '.join(PARTS)}, found {type(split).__name__}")
    for part in PARTS:
        if not isinstance(split.get(part), list):
            raise ValueError(f"{path}: key {part!r} must hold a list of [path, label, class name]")
    n_rows = sum(len(split[part]) for part in PARTS)
    for part in PARTS:
        for i, row in enumerate(split[part]):
            where = f"{path}: {part}[{i}]"
            if not _is_row(row):
                raise ValueError(f"{where} is {reprlib.repr(row)}: expected [path, label (0, 1, ...), class name]")
            if row[1] >= n_rows:
                label = reprlib.repr(row[1])
                raise ValueError(f"{where} has the label {label}; labels are 0..C-1, and there are {n_rows} images")
            if leaves(row[0]):
                raise ValueError(f"{where}: the path {row[0]!r} leaves the folder of the images, {image_dir}")
    check_apart({part: [row[0] for row in split[part]] for part in PARTS}, path, problems)
    train, val, test = ([datum(os.path.join(image_dir, row[0]), *row[1:]) for row in split[part]] for part in PARTS)
    locate_images((train, val, test), path, problems)
    return train, val, test


def write_split(path: str, image_dir: str, parts: Sequence[Items]) -> None:
    """Write train, val and test lists in CoOp's format, atomically."""
    split = {
        part: [[relative(item.impath, image_dir), item.label, item.classname] for item in items]
        for part, items in zip(PARTS, parts)
    }
    write_atomically(path, json.dumps(split, ensure_ascii=False))


def datum(impath: str, label: int, classname: str, domain: int = 0) -> Datum:
    """A Datum made without Dassl's constructor, which looks for the file. `locate_images` is faster."""
    item = Datum.__new__(Datum)
    item._impath, item._label, item._domain, item._classname = impath, label, domain, nfc(classname)
    return item


def _is_row(row: object) -> bool:
    return (
        isinstance(row, list)
        and len(row) == 3
        and isinstance(row[0], str)
        and type(row[1]) is int
        and row[1] >= 0
        and isinstance(row[2], str)
    )


def check_apart(paths: dict[str, list[str]], source: str, problems: list[str] | None = None) -> None:
    """Raise ValueError, or `report`, if a training image is also in another part.

    Validation images may be test images, since some data sets have no others.
    """

    def plain(name: str) -> str:
        return os.path.normpath(nfc(name).replace("\\", "/"))

    train = set(map(plain, paths["train"]))
    shared = [f"{name} in {part}" for part in PARTS[1:] for name in paths[part] if plain(name) in train]
    if shared:
        text = f"{counted(len(shared), 'training image')} in another part, too, the first is {shared[0]}"
        report([f"{source}: {text}"], problems)


def locate_images(parts: Sequence[Items], source: str, problems: list[str] | None = None) -> None:
    """Give the items the paths of their images as they are on disk, where names may be in another Unicode form.

    Raises FileNotFoundError, or `report`, if images are missing, and ValueError for two files of one name.
    """
    listings, missing = Listings(), []
    for item in (item for part in parts for item in part):
        found = listings.find(item.impath)
        if found:
            item._impath = found
        else:
            missing.append(item.impath)
    if missing:
        text = f"{source}: {counted(len(missing), 'image')} missing, the first is {missing[0]}"
        report([text], problems, FileNotFoundError)


def check_classes(
    train: Items,
    val: Items,
    test: Items,
    source: str,
    unique_names: bool = True,
    problems: list[str] | None = None,
    listed: Mapping[int, str] = {},
) -> None:
    """Raise ValueError unless labels are 0..C-1, each with one name and a training image, and all paths are UTF-8.

    With `unique_names`, two labels must not have the same name. `problems`: see `report`; `listed`: {label: name} of
    the classes that there must be, if a list has them.
    """
    names: dict[int, str] = {}
    others: dict[int, str] = {}  # the first other name of a label
    for item in [*train, *val, *test]:
        if names.setdefault(item.label, item.classname) != item.classname:
            others.setdefault(item.label, item.classname)
    if not names:
        raise ValueError(f"{source}: no images")
    wrong = [f"{source}: label {label} is both {names[label]!r} and {other!r}" for label, other in others.items()]
    absent = [name for label, name in sorted(listed.items()) if label not in names]
    if absent:
        raise ValueError(f"{source}: no image of {len(absent)} of {len(listed)} listed classes: {summary(absent)}")
    gaps = missing_labels(names)
    if gaps:
        gap = f"no image has the label {', '.join(map(str, gaps))}, and one has the label {max(names)}"
        after = min(label for label in names if label > gaps[0])
        beside = summary([names[label] for label in (gaps[0] - 1, after) if label in names])
        raise ValueError(f"{source}: labels must be 0..C-1, but {gap}; beside {beside} a class is missing")
    labels: dict[str, int] = {}
    for label, name in sorted(names.items()):
        if labels.setdefault(name, label) != label and unique_names:
            wrong.append(f"{source}: labels {labels[name]} and {label} are both called {name!r}")
    untrained = sorted(set(names) - {item.label for item in train})
    if untrained:
        wrong.append(f"{source}: no training image for {summary([names[label] for label in untrained])}")
    report([*wrong, *not_in_utf8((item.impath for part in (train, val, test) for item in part), source)], problems)


def missing_labels(labels: Collection[int], limit: int = 5) -> list[int]:
    """The first `limit` labels missing from 0..C-1, where C - 1 is the largest, at no cost for a label such as 10^9."""
    labels = set(labels)
    end = min(max(labels, default=-1), len(labels) + limit)
    return [label for label in range(end) if label not in labels][:limit]


def group_by_label(items: Iterable[Datum]) -> dict[int, Items]:
    """The items of each label, in the order in which the labels first appear."""
    groups: dict[int, Items] = defaultdict(list)
    for item in items:
        groups[item.label].append(item)
    return groups


def draw_shots(items: Items, shots: int, rng: random.Random, what: str = "") -> Items:
    """`shots` items per label, in the order in which the labels first appear. Logs labels with fewer items."""
    drawn, short = [], []
    for group in group_by_label(items).values():
        if len(group) < shots:
            short.append(f"{group[0].classname!r} ({len(group)})")
        drawn.extend(rng.sample(group, shots) if len(group) >= shots else group)
    if short:
        text = "%s: %s with fewer than %d images, all are used: %s"
        logger.warning(text, what, counted(len(short), "class"), shots, summary(short, text=str))
    return drawn


def subsample_classes(*parts: Items, which: str, name: str = "") -> tuple[Items, ...]:
    """Keep all classes, the first half ("base", rounded up) or the rest ("new"), with labels counted from 0 again.

    A class that is missing from one part still counts. `name` of the task is for the error without any new class.
    """
    if which == "all":
        return parts
    labels = sorted({item.label for part in parts for item in part})
    kept = half_of(labels, which)
    if not kept:
        raise ValueError(f"DATASET.SUBSAMPLE_CLASSES is 'new', but {name or 'there'} has only {len(labels)} class")
    new_label = {label: i for i, label in enumerate(kept)}
    return tuple(
        [datum(i.impath, new_label[i.label], i.classname, i.domain) for i in part if i.label in new_label]
        for part in parts
    )


def split_train_val(items: Items) -> tuple[Items, Items]:
    """Split each class at random 80/20 into train and val; the draw depends on its label and its files alone.

    Each part gets at least one image. Raises ValueError for a class with fewer than two.
    """
    val, train = _split_classes(items, 0.2)
    return train, val


def split_train_val_test(items: Items) -> tuple[Items, Items, Items]:
    """As `split_train_val`, but 50/20/30 into train, val and test, for classes of three images or more."""
    train, val, test = _split_classes(items, 0.5, 0.2)
    return train, val, test


def _split_classes(items: Items, *shares: float) -> list[Items]:
    """A list of items for each of the shares, and one of the rest."""
    parts: list[Items] = [[] for _ in (*shares, "rest")]
    for label, group in sorted(group_by_label(items).items()):
        if len(group) < len(parts):
            images = counted(len(group), "image")
            raise ValueError(f"class {group[0].classname!r} has {images}: {len(parts)} are needed to split it")
        left = sorted(group, key=lambda item: nfc(item.impath))
        random.Random(f"0/{label}").shuffle(left)  # one generator per class: other classes do not change the draw
        for index, share in enumerate(shares):
            most = len(left) - (len(shares) - index)  # the other parts need an image each
            size = max(1, min(round(len(group) * share), most))
            parts[index] += left[:size]
            left = left[size:]
        parts[-1] += left
    return parts
