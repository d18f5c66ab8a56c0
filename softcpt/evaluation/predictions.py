"""predictions.csv.gz, the predictions of a run, from which a report shows confused classes and images.

A row per tested image, in the order of the test set: its task, its path relative to DATASET.ROOT with forward slashes,
its class, the predicted class of the same task, and the softmax probability of that class within the task.
"""

import csv
import gzip
import io
import math
import os
import reprlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from softcpt.files import write_atomically

PREDICTIONS_FILE = "predictions.csv.gz"
SMALL, MAX_RATIO = 1 << 20, 200  # limits of a file's text: bytes, or bytes per byte of the file if that is more


class Prediction(NamedTuple):
    """A row of the file."""

    task: str
    image: str
    classname: str
    predicted: str
    probability: float


COLUMNS = ("task", "image", "class", "predicted", "probability")


def prediction_rows(
    items: Sequence,
    tasks: Sequence,
    labels: Sequence[int],
    predicted: Sequence[int],
    probability: Sequence[float],
    root: str = "",
) -> Iterator[Prediction]:
    """The rows for the Datum `items`.

    Args:
        tasks: objects with `name` and `classnames`, in label order.
        labels, predicted: global labels of the items, true and predicted.
        probability: of the predicted label.
        root: image paths are made relative to it; "" leaves them unchanged.

    Raises ValueError if `labels` are not those of the items.
    """
    if list(labels) != [item.label for item in items]:
        raise ValueError(f"{len(labels)} predictions do not belong to the {len(items)} images in this order")
    names = [(task.name, name) for task in tasks for name in task.classnames]
    root = os.path.abspath(os.path.expanduser(root)) if root else ""
    for item, chosen, share in zip(items, predicted, probability):
        path = os.path.relpath(item.impath, root) if root else item.impath
        task, name = names[item.label]
        yield Prediction(task, path.replace(os.sep, "/"), name, names[chosen][1], share)


def write_predictions(path: str | os.PathLike, rows: Iterable[Prediction]) -> None:
    """Write the rows atomically; equal rows give equal bytes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((*row[:4], f"{row.probability:.6g}") for row in rows)
    write_atomically(path, gzip.compress(text.getvalue().encode(), mtime=0))


def read_predictions(path: str | os.PathLike) -> list[Prediction]:
    """The rows of a file.

    Raises FileNotFoundError, and ValueError for a file that is cut off, damaged, has other columns or unpacks to more
    than the limits allow.
    """
    limit = max(SMALL, MAX_RATIO * os.path.getsize(path))
    try:
        with gzip.open(path) as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise ValueError(f"it unpacks to more than {MAX_RATIO} times its size")
        rows = list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))
    except (EOFError, gzip.BadGzipFile, zlib.error, csv.Error, ValueError) as error:
        raise ValueError(f"{path}: not a complete gzip file of text ({error})") from error
    header = rows[0] if rows else []
    if tuple(header) != COLUMNS:
        raise ValueError(f"{path}: expected the columns {', '.join(COLUMNS)}, found {reprlib.repr(header)}")
    return [_prediction(row, f"{path}, row {number}") for number, row in enumerate(rows[1:], 1)]


def _prediction(row: Sequence[str], where: str) -> Prediction:
    if len(row) != len(COLUMNS):
        raise ValueError(f"{where}: expected the columns {', '.join(COLUMNS)}, found {len(row)} fields")
    try:
        probability = float(row[4])
    except ValueError:
        probability = math.nan
    if not 0 <= probability <= 1:
        raise ValueError(f"{where}: {row[4][:40]!r} is not a probability")
    task, image, classname, predicted = row[:4]
    return Prediction(task, image, classname, predicted, probability)


def merge_predictions(folder: Path, parts: Iterable[Path]) -> None:
    """Merge the predictions of the run folders `parts` into `folder`, if all parts have some."""
    paths = [Path(part, PREDICTIONS_FILE) for part in parts]
    if all(path.is_file() for path in paths):
        write_predictions(folder / PREDICTIONS_FILE, (row for path in paths for row in read_predictions(path)))
