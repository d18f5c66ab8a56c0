"""Which classes a method confuses, with images of the mistakes, from the predictions of its runs."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from softcpt.evaluation.predictions import PREDICTIONS_FILE, Prediction, read_predictions
from softcpt.evaluation.provenance import PROJECT_ROOT
from softcpt.files import read_yaml
from softcpt.images.read import small_image

from .pictures import data_url, encoded

PAIRS = 8  # pairs of classes shown per task
IMAGES = 5  # images shown per pair
LARGEST = 720  # pixels of the side of a matrix
THUMBNAIL = 72  # pixels of the longer side
BUDGET = 2_500_000  # bytes of all thumbnails of a report, in base64


@dataclass
class Confused:
    """A pair of classes: `count` of the `of` images of `classname` are predicted as `predicted`. `images` holds their
    paths with the probability of the wrong class, the largest first."""

    classname: str
    predicted: str
    count: int
    of: int
    images: list[tuple[str, float]]
    thumbnails: list[tuple[str, float]] = field(default_factory=list)  # (data: URL, probability)


@dataclass
class TaskConfusion:
    """A task's classes, the counts of its pairs (true class, predicted class), by their places in `classes` and without
    zeros, and its most confused pairs. With C classes there may be C^2 pairs, but no more than images."""

    task: str
    classes: list[str]
    counts: dict[tuple[int, int], int]
    pairs: list[Confused]

    def matrix(self, side: int | None = None) -> np.ndarray:
        """The counts (C, C), rows true and columns predicted classes; with `side` (side, side), for neighbouring
        classes together."""
        size = len(self.classes)
        found: np.ndarray = np.zeros((side or size,) * 2, dtype=int)
        for (true, predicted), n in self.counts.items():
            found[true * len(found) // size, predicted * len(found) // size] += n
        return found


@dataclass
class MethodConfusion:
    """A method's mistakes at one number of shots, summed over the runs (seeds)."""

    method: str
    shots: int
    seeds: list[int]
    tasks: list[TaskConfusion]
    note: str = ""


def of_rows(rows: Iterable[Prediction]) -> list[TaskConfusion]:
    """The confusion of each task, in order of first appearance, from the predictions of one or more runs."""
    frame = pd.DataFrame(rows, columns=Prediction._fields)
    return [_of_task(task, own) for task, own in frame.groupby("task", sort=False)]


def _of_task(task: str, rows: pd.DataFrame) -> TaskConfusion:
    classes = list(pd.concat([rows["classname"], rows["predicted"]]).unique())
    place = {name: i for i, name in enumerate(classes)}
    counts = Counter(zip(rows["classname"].map(place), rows["predicted"].map(place)))
    of = Counter(rows["classname"])
    mistakes = [pair for pair in counts if pair[0] != pair[1]]
    pairs = []
    for true, predicted in sorted(mistakes, key=lambda pair: (-counts[pair], pair[0]))[:PAIRS]:
        own = rows[(rows["classname"] == classes[true]) & (rows["predicted"] == classes[predicted])]
        images = own.groupby("image")["probability"].max()
        surest = sorted(images.items(), key=lambda item: (-item[1], item[0]))[:IMAGES]
        pairs.append(Confused(classes[true], classes[predicted], len(own), of[classes[true]], surest))
    return TaskConfusion(task, classes, dict(counts), pairs)


def of_method(
    records: Sequence[Mapping], method: str, shots: int, data: str | Path | None = None, budget: int = BUDGET
) -> MethodConfusion | None:
    """The confusion of a method's runs at one number of shots, with thumbnails of at most `budget` bytes.

    Args:
        records: those of one section, with their methods in the key "method" and their files in "path".
        data: folder of the images; None for the runs' DATASET.ROOT.

    Returns None if no run has predictions.
    """
    rows, seeds, notes, folders = [], [], [], []
    for record in records:
        path = Path(record["path"]).with_name(PREDICTIONS_FILE)
        if (record["method"], record["shots"]) == (method, shots) and path.is_file():
            try:
                rows += read_predictions(path)
            except (ValueError, OSError) as error:
                notes.append(f"Left out: {error}.")
                continue
            seeds.append(record["seed"])
            folders.append(path.parent)
    if not seeds:
        return None
    tasks = of_rows(rows)
    root, upright = _data_of(folders[0])
    root = Path(data) if data else root
    if root is None or not _add_thumbnails(tasks, root, upright, budget):
        notes.append(f"No images of the mistakes: they are not below {root or 'a known folder'} (name it by --data).")
    return MethodConfusion(method, shots, seeds, tasks, " ".join(notes))


def _data_of(run: Path) -> tuple[Path | None, bool]:
    """DATASET.ROOT of a run, and whether it turned images upright; of a run trained once per task, its first task's."""
    try:
        path = next(path for path in (run / "config.yaml", *sorted(run.glob("tasks/*/config.yaml"))) if path.is_file())
        config = read_yaml(path)
        root, upright = config["DATASET"]["ROOT"], config.get("INPUT", {}).get("UPRIGHT") is True
    except (StopIteration, ValueError, KeyError, TypeError, AttributeError, OSError):
        return None, False
    return (PROJECT_ROOT / os.path.expanduser(root) if isinstance(root, str) and root else None), upright


def _add_thumbnails(tasks: Sequence[TaskConfusion], root: Path, upright: bool, budget: int) -> bool:
    """Add thumbnails of the images below `root` to the pairs within the budget, the first of every pair before the
    second of any. Returns whether there are any."""
    pairs = [pair for task in tasks for pair in task.pairs]
    for i in range(IMAGES):
        for confused in pairs:
            for path, probability in confused.images[i : i + 1]:
                text = thumbnail(root / path, upright) if is_inside(path, root) else ""
                if text and len(text) <= budget:
                    confused.thumbnails.append((text, probability))
                    budget -= len(text)
    return any(pair.thumbnails for pair in pairs)


def is_inside(path: str, root: Path) -> bool:
    """Whether a path of predictions, as written, names a regular file below the data root."""
    within = not Path(path).is_absolute() and ".." not in Path(path).parts
    try:
        return within and (root / path).is_file()
    except (OSError, ValueError):  # a name that is too long, or has a null byte
        return False


def thumbnail(path: Path, upright: bool = False) -> str:
    """A small JPEG of an image as a data: URL; "" if it cannot be read."""
    try:
        small = small_image(path, THUMBNAIL, upright)
    except OSError:
        return ""
    return data_url(encoded(small, "jpeg", quality=72), "jpeg")


def matrix_picture(task: TaskConfusion, side: int = 360) -> bytes:
    """The matrix as a PNG, for tasks with many classes: the larger the share within the true class, the darker. A pixel
    is for one class, or for neighbouring ones if there are more than LARGEST."""
    values = task.matrix(min(len(task.classes), LARGEST))
    shares = values / np.maximum(values.sum(1, keepdims=True), 1)
    blue = np.array([0, 114, 178]) / 255
    pixels = (255 * (1 - shares[..., None] * (1 - blue))).astype(np.uint8)
    scale = max(1, side // len(values))
    image = Image.fromarray(pixels).resize((scale * len(values),) * 2, Image.Resampling.NEAREST)
    return encoded(image, "png", optimize=True)
