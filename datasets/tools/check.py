"""Checks of a data set on disk: files, counts, images, copies and class names."""

import contextlib
import hashlib
import os
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from softcpt.files.messages import summary
from softcpt.files.texts import counted
from softcpt.images.read import bytes_of, damage_of

from ..alike import alike
from ..splits import PARTS
from .on_disk import Contents

CONTEXT_LENGTH = 77  # tokens of CLIP's text encoder
IN_A_BATCH = 32  # images per message between processes
SHOWN = 5  # findings of one kind that are named
FEW = 10  # images of a class: 5 to train, 2 to validate and 3 to test
IMBALANCE = 10  # times as many images in the largest class as in the smallest


@dataclass
class Report:
    """What is found in one task: general `lines`, certain `problems`, and `notes` on what may be wrong."""

    name: str
    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_contents(
    contents: Contents,
    n_context: int = 16,
    workers: int | None = None,
    images: bool = True,
    encode: Callable[[Sequence[str]], Any] | None = None,
) -> Report:
    """All checks of one task.

    Args:
        n_context: number of context tokens beside a class name.
        workers: processes that read images; None for one per core.
        images: whether to read the images.
        encode: a CLIP's function from sentences to features (R, E), to find classes with equal features.
    """
    report = Report(contents.name, [describe(contents), prompt_of(contents)])
    check_counts(contents, report)
    check_balance(contents, report)
    check_paths(contents, report)
    check_names(contents, report, n_context)
    if encode is not None:
        template, names = contents.task.template, contents.task.classnames
        report.notes += alike(encode([template.format(name.replace("_", " ")) for name in names]), names)
    if images:
        check_images(contents, report, workers)
    return report


def describe(contents: Contents) -> str:
    """E.g. "37 classes; train 2944 (79-80 per class), ..."."""
    parts = []
    for part, items in zip(PARTS, contents.parts):
        counts = Counter(item.label for item in items)
        low, high = min(counts.values(), default=0), max(counts.values(), default=0)
        spread = f"{low}" if low == high else f"{low}-{high}"
        parts.append(f"{part} {len(items):,}" + (f" ({spread} per class)" if items else ""))
    return f"{counted(len(contents.task.classnames), 'class')}; {', '.join(parts)}"


def prompt_of(contents: Contents) -> str:
    """The prompt of the first class, which shows the template and how names are written."""
    template, names = contents.task.template, contents.task.classnames
    return f'prompts: "{template.format(names[0].replace("_", " "))}"' + (", ..." if len(names) > 1 else "")


def per_class(contents: Contents) -> list[tuple[str, int, int, int]]:
    """(class name, train, val, test) of each class, in label order."""
    train, val, test = (Counter(item.label for item in items) for items in contents.parts)
    return [(name, train[i], val[i], test[i]) for i, name in enumerate(contents.task.classnames)]


def check_counts(contents: Contents, report: Report) -> None:
    """Find classes without images in a part, and numbers that differ from the published ones."""
    rows = per_class(contents)
    for index, part in enumerate(PARTS, start=1):
        absent = [row[0] for row in rows if not row[index]]
        if absent and len(absent) < len(rows):
            report.problems.append(f"no {part} image of {counted(len(absent), 'class')}: {summary(absent)}")
    if not contents.parts[2]:
        report.problems.append("no test images")
    declared = contents.declared
    if declared is None:
        return
    if declared.n_classes and declared.n_classes != len(rows):
        report.problems.append(f"{counted(len(rows), 'class')}, but {declared.n_classes} were published")
    sizes = [len(items) for items in contents.parts]
    if declared.test_only:
        sizes = sizes[2:]
    if declared.n_images and sum(declared.n_images) != sum(sizes):
        report.problems.append(f"{counted(sum(sizes), 'image')}, but {sum(declared.n_images):,} were published")
    elif len(declared.n_images) == 3 and list(declared.n_images) != sizes:
        report.notes.append(f"{sizes} train, val and test images; CoOp's split has {list(declared.n_images)}")


def check_balance(contents: Contents, report: Report) -> None:
    """Note tasks of one class, classes with few images, and classes of very different size."""
    images: dict[int, set[str]] = {label: set() for label in range(len(contents.task.classnames))}
    for item in (item for part in contents.parts for item in part):
        images[item.label].add(item.impath)
    sizes = sorted((len(paths), contents.task.classnames[label]) for label, paths in images.items())
    if len(sizes) == 1:
        report.notes.append("one class, so any answer is right: the task does not count in the mean")
    few = [f"{name!r} ({size})" for size, name in sizes if size < FEW]
    if few:
        what = f"{counted(len(few), 'class')} with fewer than {FEW} images, too few to measure or to split well"
        report.notes.append(f"{what}: {summary(few, SHOWN, str)}")
    (least, smallest), (most, largest) = sizes[0], sizes[-1]
    if least and most >= IMBALANCE * least:
        weight = "" if contents.task.metric == "mean_per_class" else "; metric: mean_per_class would weigh them equally"
        sized = f"{largest!r} has {most:,} images and {smallest!r} {least:,}"
        report.notes.append(f"classes differ in size by a factor of {most // least:,}: {sized}{weight}")
    if contents.filled:
        what = f"{counted(len(contents.filled), 'small class')} with a part that took its only image from another part"
        fix = "it can move back when images are added; data.py splits fixes the split"
        report.notes.append(f"{what}: {summary(contents.filled, SHOWN)}; {fix}")


def check_paths(contents: Contents, report: Report) -> None:
    """Find files that are listed twice."""
    if contents.declared is not None and contents.declared.test_only:
        return  # its test images are also listed as training images
    where: dict[str, list[str]] = defaultdict(list)
    for part, items in zip(PARTS, contents.parts):
        for item in items:
            where[item.impath].append(part)
    twice = [f"{path} ({', '.join(parts)})" for path, parts in where.items() if len(parts) > 1]
    if twice:
        report.problems.append(f"{counted(len(twice), 'image')} listed twice: {summary(twice, SHOWN)}")


def check_names(contents: Contents, report: Report, n_context: int) -> None:
    """Find class names that a model cannot tell apart, or that are too long beside the learned context."""
    names = contents.task.classnames
    groups = defaultdict(list)
    for name in names:
        groups[" ".join(re.split(r"[\s_-]+", name.lower().strip()))].append(name)
    same = [" and ".join(map(repr, group)) for group in groups.values() if len(group) > 1]
    if same:
        known = contents.declared is not None and not contents.declared.unique_names
        (report.notes if known else report.problems).append(f"classes with one name: {'; '.join(same[:SHOWN])}")
    room = CONTEXT_LENGTH - 2 - n_context
    long = [name for name, length in zip(names, token_counts(names)) if length > room]
    if long:
        report.problems.append(
            f"{counted(len(long), 'class name')} longer than the {room} tokens left beside a context of {n_context}: "
            f"{summary(long, 3)}"
        )


def token_counts(names: Sequence[str]) -> list[int]:
    """The number of CLIP's tokens in each name, with the full stop of a prompt."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pkg_resources, in the clip package
        from clip.simple_tokenizer import SimpleTokenizer
    tokenizer = SimpleTokenizer()
    return [len(tokenizer.encode(f"{name.replace('_', ' ')}.")) for name in names]


def check_images(contents: Contents, report: Report, workers: int | None) -> None:
    """Find files that cannot be decoded, and copies of an image, within a part and across parts."""
    part_of = {item.impath: part for part, items in zip(PARTS, contents.parts) for item in items}
    unreadable, copies = [], defaultdict(list)
    for path, digest, error in examine_all(list(part_of), workers, contents.name):
        if error:
            unreadable.append(f"{path} ({error})")
        copies[digest].append(path)
    if unreadable:
        report.problems.append(f"{counted(len(unreadable), 'unreadable image')}: {summary(unreadable, SHOWN)}")
    groups = [sorted(paths) for digest, paths in copies.items() if digest and len(paths) > 1]
    across = [" = ".join(paths) for paths in groups if len({part_of[path] for path in paths}) > 1]
    if across:
        report.problems.append(f"{counted(len(across), 'image')} in two parts: {summary(sorted(across), SHOWN)}")
    if len(groups) > len(across):
        report.notes.append(f"{counted(len(groups) - len(across), 'image')} with copies in the same part")


def examine_all(paths: Sequence[str], workers: int | None, what: str) -> Iterator[tuple[str, bytes, str]]:
    """What `examine` returns for each path, read by `workers` processes, with a progress bar."""
    workers = min(os.cpu_count() or 1 if workers is None else workers, 1 + len(paths) // IN_A_BATCH)
    with ProcessPoolExecutor(workers) if workers > 1 else contextlib.nullcontext() as pool:
        results = pool.map(examine, paths, chunksize=IN_A_BATCH) if pool else map(examine, paths)
        yield from tqdm(results, total=len(paths), desc=what, unit="img", disable=None)


def examine(path: str) -> tuple[str, bytes, str]:
    """(path, digest of its bytes, error or ""). The whole file is decoded, since it may be truncated."""
    try:
        content = bytes_of(path)
    except OSError as error:
        return path, b"", error.strerror or str(error)
    return path, hashlib.blake2b(content, digest_size=16).digest(), damage_of(content)
