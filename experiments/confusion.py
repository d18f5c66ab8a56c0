"""Which classes a method mistakes for which, and the images of the mistakes, from the predictions of its runs."""

import base64
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from evaluation.predictions import PREDICTIONS_FILE, Prediction, read_predictions
from evaluation.provenance import PROJECT_ROOT

PAIRS = 8  # of classes, shown per task
IMAGES = 5  # of mistakes, shown per pair
THUMBNAIL = 72  # pixels, the longer side
BUDGET = 2_500_000  # bytes of thumbnails in a report, as base64


@dataclass
class Confused:
    """A pair of classes: how many images of `classname` are predicted as another, of how many, and which (with the
    probability of the wrong class, the surest first)."""

    classname: str
    predicted: str
    count: int
    of: int
    images: list[tuple[str, float]]
    thumbnails: list[tuple[str, float]] = field(default_factory=list)  # data: URLs, in place of paths


@dataclass
class TaskConfusion:
    """A task's counts (rows true classes, columns predicted ones, in one order) and its most confused pairs."""

    task: str
    counts: pd.DataFrame
    pairs: list[Confused]


@dataclass
class MethodConfusion:
    """A method's mistakes, added up over the runs (seeds) at one number of shots."""

    method: str
    shots: int
    seeds: list[int]
    tasks: list[TaskConfusion]
    note: str = ""


def of_rows(rows: Iterable[Prediction]) -> list[TaskConfusion]:
    """The confusion of each task, in order of first appearance, of the predictions of one run or several."""
    tasks: dict[str, list[Prediction]] = {}
    for row in rows:
        tasks.setdefault(row.task, []).append(row)
    return [_of_task(task, own) for task, own in tasks.items()]


def _of_task(task: str, rows: Sequence[Prediction]) -> TaskConfusion:
    classes = list(dict.fromkeys([row.classname for row in rows] + [row.predicted for row in rows]))
    place = {name: i for i, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    wrong: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        counts[place[row.classname], place[row.predicted]] += 1
        if row.classname != row.predicted:
            images = wrong.setdefault((row.classname, row.predicted), {})
            images[row.image] = max(row.probability, images.get(row.image, 0))
    often = Counter({pair: int(counts[place[pair[0]], place[pair[1]]]) for pair in wrong})
    pairs = [
        Confused(*pair, count, int(counts[place[pair[0]]].sum()), _surest(wrong[pair]))
        for pair, count in sorted(often.items(), key=lambda item: (-item[1], place[item[0][0]]))[:PAIRS]
    ]
    return TaskConfusion(task, pd.DataFrame(counts, index=classes, columns=classes), pairs)


def _surest(images: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(images.items(), key=lambda item: (-item[1], item[0]))[:IMAGES]


def of_method(
    records: Sequence[dict], method: str, shots: int, data: str | Path | None = None, budget: int = BUDGET
) -> MethodConfusion | None:
    """The confusion of a method's runs at one number of shots, with thumbnails of at most `budget` bytes.

    Args:
        records: of one section, with their names in the key "method" and their files in "path".
        data: where the images are; None for the DATASET.ROOT of the runs.

    Returns None if no run has predictions.
    """
    rows, seeds, notes, folders = [], [], [], []
    for record in records:
        path = Path(record["path"]).with_name(PREDICTIONS_FILE)
        if (record["method"], record["shots"]) == (method, shots) and path.is_file():
            try:
                rows += read_predictions(path)
            except ValueError as error:
                notes.append(f"Left out: {error}.")
                continue
            seeds.append(record["seed"])
            folders.append(path.parent)
    if not seeds:
        return None
    tasks = of_rows(rows)
    root = Path(data) if data else _data_root(folders[0])
    if root is None or not _add_thumbnails(tasks, root, budget):
        notes.append(f"No images of the mistakes: they are not below {root or 'a known folder'} (--data names it).")
    return MethodConfusion(method, shots, seeds, tasks, " ".join(notes))


def _data_root(run: Path) -> Path | None:
    """DATASET.ROOT of a run, or of the first of its tasks where it trained once per task."""
    for path in (run / "config.yaml", *sorted(run.glob("tasks/*/config.yaml"))):
        if path.is_file():
            try:
                root = yaml.safe_load(path.read_text(encoding="utf-8"))["DATASET"]["ROOT"]
            except (yaml.YAMLError, KeyError, TypeError):
                return None
            return PROJECT_ROOT / Path(root).expanduser() if root else None
    return None


def _add_thumbnails(tasks: Sequence[TaskConfusion], root: Path, budget: int) -> bool:
    """Give each pair the thumbnails of its images, the first of every pair before the second of any, as far as the
    budget goes; whether there is one."""
    found = False
    for i in range(IMAGES):
        for confused in (pair for task in tasks for pair in task.pairs):
            if i < len(confused.images):
                path, probability = confused.images[i]
                text = thumbnail(root / path)
                if text and len(text) <= budget:
                    confused.thumbnails.append((text, probability))
                    budget -= len(text)
                    found = True
    return found


def thumbnail(path: Path) -> str:
    """A small JPEG of an image as a data: URL, "" where it cannot be read."""
    try:
        with Image.open(path) as image:
            image.draft("RGB", (2 * THUMBNAIL, 2 * THUMBNAIL))
            small = image.convert("RGBA").convert("RGB") if image.mode in ("P", "LA", "PA") else image.convert("RGB")
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        buffer = io.BytesIO()
        small.save(buffer, format="JPEG", quality=72)
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def matrix_picture(counts: pd.DataFrame, side: int = 360) -> bytes:
    """The matrix as a PNG for tasks of many classes: the darker, the larger the share of the true class (row)."""
    values = counts.to_numpy(dtype=float)
    shares = values / np.maximum(values.sum(1, keepdims=True), 1)
    blue = np.array([0, 114, 178]) / 255
    pixels = (255 * (1 - shares[..., None] * (1 - blue))).astype(np.uint8)
    scale = max(1, side // len(values))
    image = Image.fromarray(pixels).resize((scale * len(values),) * 2, Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
