"""Export a data set of torchvision or Hugging Face to a folder, as a task of `FolderTasks`.

    python datasets/adapters.py torchvision CIFAR10 --root my_data --task small_object_recognition
    python datasets/adapters.py huggingface beans --root my_data --task bean_leaf_disease_recognition

Image files on disk are linked (copied where no links can be made), encoded images are copied, and others are saved as
PNG. An existing folder is left alone. Hugging Face's package is also called `datasets`; Python finds it only if this
file, which imports nothing from this project but `softcpt`, runs as above.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

if __name__ == "__main__":  # in place of this file's folder, whose modules are not top-level ones
    sys.path[0] = str(Path(__file__).resolve().parents[1])
from softcpt.images.read import suffix_of, turned

PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
IMAGE_COLUMNS = ("image", "img", "picture")
LABEL_COLUMNS = ("label", "labels", "fine_label", "target")


def export_task(parts: Mapping[str, Iterable] | Iterable, root: str, task: str) -> str:
    """Export a data set to `<root>/<task>/[<part>/]<class>/*`, unless that folder exists, and return the folder.

    The folder appears once it is complete.

    Args:
        parts: {"train" | "val" | "test": data set}, or one data set for `FolderTasks` to split. A data set is a
            sequence of (image, label) or of dicts with an image and a label column. An image is a PIL image, a path, or
            {"bytes", "path"}. Class names come from its `classes` or `features`; without these, labels are names.
        task: name of the folder, and of the task unless tasks.yaml renames it.

    Raises ValueError for parts, items or labels in another form, and for a task that is not a folder name.
    """
    if task in ("", ".", "..") or task.startswith(".") or {"/", "\\", "\0"} & set(task):
        raise ValueError(f"task {task!r} is not the name of a folder in {root}")
    folder = os.path.join(root, task)
    if os.path.exists(folder):
        return folder
    temporary = os.path.join(root, f".{task}.{os.getpid()}.tmp")  # hidden, so FolderTasks ignores it
    try:
        for part, data in name_parts(parts).items():
            for index, (image, name) in enumerate(pictures(data)):
                path = os.path.join(temporary, part, name)
                os.makedirs(path, exist_ok=True)
                store(image, os.path.join(path, f"{index:06d}"))
        if not os.path.isdir(temporary):
            raise ValueError(f"task {task!r}: the data set is empty")
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def name_parts(parts: Mapping[str, Iterable] | Iterable) -> dict[str, Iterable]:
    """{"train", "val", "test": data set}, or {"": data set} for one without parts."""
    if not isinstance(parts, Mapping):
        return {"": parts}
    unknown = [name for name in parts if name not in PARTS]
    if unknown:
        raise ValueError(f"part {unknown[0]!r} is not one of {', '.join(PARTS)}")
    named = {PARTS[name]: data for name, data in parts.items()}
    if len(named) == 1:
        return {"": next(iter(named.values()))}
    if "test" not in named:
        named["test"] = named.pop("val")  # the labels of test images are often not published
    return named


def pictures(data: Any) -> Iterator[tuple[Any, str]]:
    """(image, class folder) of each item."""
    features = getattr(data, "features", None) or {}
    if hasattr(data, "cast_column"):  # Hugging Face: take the files without decoding them
        column = next((name for name in IMAGE_COLUMNS if name in features), None)
        data = data.cast_column(column, type(features[column])(decode=False)) if column else data
    names = getattr(data, "classes", None)
    for column in LABEL_COLUMNS:
        names = names or getattr(features.get(column), "names", None)
    folders = class_folders(names) if names else None
    for image, label in items_of(data):
        if folders is None:
            yield image, class_folders([label])[0]
        elif not 0 <= int(label) < len(folders):
            raise ValueError(f"label {label} of {len(folders)} classes: images without labels cannot be used")
        else:
            yield image, folders[int(label)]


def items_of(data: Any) -> Iterator[tuple[Any, Any]]:
    """(image, label) of each item; for torchvision's data sets of files, image is a path."""
    if hasattr(data, "samples"):
        yield from ((path, label) for path, label in data.samples)
    elif hasattr(data, "_image_files") and hasattr(data, "_labels"):
        yield from zip(map(str, data._image_files), data._labels)
    else:
        for index in range(len(data)):
            item = data[index]
            if isinstance(item, Mapping):
                columns = IMAGE_COLUMNS, LABEL_COLUMNS
                item = tuple(next((item[name] for name in names if name in item), None) for names in columns)
            if not isinstance(item, tuple) or len(item) != 2 or any(value is None for value in item):
                raise ValueError(f"item {index} of {type(data).__name__} is not (image, label)")
            yield item


def class_folders(names: Iterable[Any]) -> list[str]:
    """Folder names for class names. Raises ValueError if two classes would share a folder."""
    folders = [str(name).strip().lstrip(".").replace("/", "-").replace("\\", "-") for name in names]
    for folder in folders:
        if not folder or folders.count(folder) > 1:
            raise ValueError(f"class names must be different and not empty, found {folder!r}")
    return folders


def store(image: Any, path: str) -> None:
    """Link, write or encode an image as `path` plus the suffix of its format."""
    if isinstance(image, Mapping):
        encoded, image = image.get("bytes"), image.get("path")
        if encoded:
            Path(path + suffix_of(encoded)).write_bytes(encoded)
            return
    if isinstance(image, Image.Image):
        turned(image).save(f"{path}.png")  # which does not keep its EXIF entry
    elif isinstance(image, str | os.PathLike) and os.path.isfile(image):
        place = path + os.path.splitext(image)[1].lower()
        try:
            os.symlink(os.path.abspath(image), place)
        except OSError:  # Windows allows links to some users alone, and some file systems have none
            shutil.copyfile(image, place)
    else:
        raise ValueError(f"{image!r} is not a PIL image, the path of a file or {{'bytes', 'path'}}")


def torchvision_parts(name: str, folder: str) -> dict[str, Any]:
    """The parts of a torchvision data set, downloaded into `folder`. Raises ValueError for an unknown name."""
    import torchvision.datasets as known

    if not hasattr(known, name):
        raise ValueError(f"torchvision.datasets has no {name!r}")
    data_set = getattr(known, name)
    arguments = inspect.signature(data_set).parameters
    if "train" in arguments:
        return {part: data_set(folder, train=part == "train", download=True) for part in ("train", "test")}
    parts = {}
    for part, values in {"train": ("train", "trainval"), "val": ("val",), "test": ("test",)}.items():
        for value in values if "split" in arguments and part not in parts else ():
            try:
                parts[part] = data_set(folder, split=value, download=True)
                break
            except ValueError:  # this data set has no such split
                continue
    return parts or {"train": data_set(folder, download=True)}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", choices=("torchvision", "huggingface"))
    parser.add_argument("name", help="name of the data set there")
    parser.add_argument("--root", required=True, help="folder of your tasks")
    parser.add_argument("--task", help="name of the task's folder (default: the data set's name)")
    parser.add_argument("--downloads", help="folder for the library's own files (default: <root>/.downloads)")
    args = parser.parse_args(argv)
    downloads = args.downloads or os.path.join(args.root, ".downloads")
    try:
        os.makedirs(downloads, exist_ok=True)
        if args.library == "torchvision":
            parts = torchvision_parts(args.name, downloads)
        else:
            parts = importlib.import_module("datasets").load_dataset(args.name, cache_dir=downloads)
        print(export_task(parts, args.root, args.task or args.name.replace("/", "_")))
    except (ImportError, ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.path.pop(0)  # this project, whose `datasets` would hide Hugging Face's
    sys.exit(main())
