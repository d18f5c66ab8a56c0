"""The layout of users' own folders: which of them are tasks, parts and classes.

<root>/<task>/<class>/*                       a task per folder
<root>/<task>/{train,val,test}/<class>/*      a task in parts; val is optional
<root>/{train,val,test}/<class>/*             one task in parts, named after the root
<root>/<class>/*                              one task, named after the root
"""

import os
from collections.abc import Sequence

from softcpt.files.messages import report
from softcpt.files.texts import nfc

from .raw import is_image, list_folder, no_image
from .tables import Pictures, part_of

LAYOUT = "expected <root>/<task>/<class>/* or <root>/<task>/{train,val,test}/<class>/*"


def find_tasks(root: str) -> dict[str, str]:
    """{name of a task in NFC: its folder}, which is the root itself if it holds parts or classes.

    Raises FileNotFoundError if there are no folders, ValueError for two of one name.
    """
    names, files = list_folder(root)
    images = [name for name in files if is_image(name)]
    if not names:
        raise FileNotFoundError(
            f"{_first(root, images)}: not in the folder of a task and a class; {LAYOUT}"
            if images
            else f"{root}: no folder of a task and no tasks.csv{'' if files else ', it is empty'}; {LAYOUT}"
        )
    paths = {name: os.path.join(root, name) for name in names}
    classes = [name for name in names if holds_images(paths[name])]
    one_task = len(classes) > 1 and all(name in classes or _is_empty(paths[name]) for name in names)
    if one_task or any(part_of(name) and not _parts_in(paths[name]) for name in names if name not in classes):
        return {nfc(os.path.basename(root)) or "task": root}
    if images:
        raise ValueError(f"{_first(root, images)}: not in the folder of a task and a class; {LAYOUT}")
    return {nfc(name): path for name, path in paths.items()}


def holds_images(folder: str) -> bool:
    return any(is_image(name) for name in list_folder(folder)[1])


def _is_empty(folder: str) -> bool:
    return not any(list_folder(folder))


def _parts_in(folder: str) -> list[str]:
    """The folders of parts in a folder. One that holds images is a class, such as the trains among vehicles."""
    return [n for n in list_folder(folder)[0] if part_of(n) and not holds_images(os.path.join(folder, n))]


def read_folder(folder: str, problems: list[str] | None = None) -> Pictures:
    """The images of one task by part ("" without parts) and class, whose names are in NFC. `problems`: see `report`.

    Raises ValueError for a folder that is neither parts nor classes, parts without train or test, and as
    `read_classes`.
    """
    names = list_folder(folder)[0]
    named = [name for name in names if part_of(name)]
    if not _parts_in(folder) and (not named or len(named) < len(names)):
        return {"": read_classes(folder, problems)}
    images = [name for name in list_folder(folder)[1] if is_image(name)]
    if images:
        raise ValueError(f"{_first(folder, images)}: beside {' and '.join(map(repr, named))}, in no part; {LAYOUT}")
    others = [name for name in names if name not in named]
    if others:
        beside = f"{others[0]!r} is beside {' and '.join(map(repr, named))}"
        raise ValueError(f"{folder}: {beside}, read as parts of the images; rename what is no part; {LAYOUT}")
    parts = [part_of(name) for name in names]
    twice = [name for name, part in zip(names, parts) if parts.count(part) > 1]
    if twice:
        raise ValueError(f"{folder}: {' and '.join(twice)} are the same part")
    for part in ("train", "test"):
        if part not in parts:
            raise ValueError(f"{folder}: has {' and '.join(names)} but no {part} folder; {LAYOUT}")
    return {part: read_classes(os.path.join(folder, name), problems) for name, part in zip(names, parts)}


def read_classes(folder: str, problems: list[str] | None = None) -> dict[str, list[str]]:
    """{class: paths of its images}. Raises ValueError, or `report`, for an empty folder and any other file or folder:
    a line per class folder and kind of fault."""
    classes, files = list_folder(folder)
    wrong = [f"{_first(folder, files)}: not in a class folder; {LAYOUT}"] if files else []
    if not classes:
        raise ValueError("\n".join(wrong) or f"{folder}: no class folders, it is empty; {LAYOUT}")
    pictures = {}
    for name in classes:
        path = os.path.join(folder, name)
        deeper, files = list_folder(path)
        images = [file for file in files if is_image(file)]
        others = [file for file in files if not is_image(file)]
        if deeper:
            wrong.append(f"{_first(path, deeper)}: a folder in a class folder; {LAYOUT}")
        if others:
            wrong.append(f"{_first(path, others)}: {no_image(*others)}, although in a class folder")
        if not (images or others or deeper):
            wrong.append(f"{path}: a class folder without images, it is empty")
        if images:
            pictures[nfc(name)] = [os.path.join(path, file) for file in images]
    report(wrong, problems)
    return pictures


def _first(folder: str, names: Sequence[str]) -> str:
    """The path of the first of some names in a folder, and the number of the others."""
    return os.path.join(folder, names[0]) + (f" and {len(names) - 1:,} more" if len(names) > 1 else "")
