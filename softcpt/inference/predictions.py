"""Predictions for many images, as text, CSV or JSON."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from softcpt.files.texts import plain, spreadsheet

from .images import image_batches


@dataclass(frozen=True)
class Prediction:
    """Of one image: probabilities (R,) by the name of their source, or the reason why it could not be read."""

    path: Path
    scores: Mapping[str, Tensor] = field(default_factory=dict)
    error: str = ""


def predictions(
    predictor: Any, paths: Sequence[Path], task: str, batch_size: int, workers: int
) -> Iterator[Prediction]:
    """One prediction per image, in the order of `paths`.

    Args:
        predictor: has `transform`, `upright`, and `scores(images, task)` that returns {source: probabilities (B, R)}.

    Raises ValueError for probabilities that are not finite.
    """
    for batch in image_batches(paths, predictor.transform, predictor.upright, batch_size, workers):
        found = {position: Prediction(paths[position], error=error) for position, error in batch.errors}
        scores = predictor.scores(batch.images, task) if batch.positions else {}
        for values in scores.values():
            check_finite(values, [str(paths[position]) for position in batch.positions])
        for row, position in enumerate(batch.positions):
            own = {source: values[row] for source, values in scores.items()}
            found[position] = Prediction(paths[position], own)
        yield from (found[position] for position in sorted(found))


def check_finite(values: Tensor, names: Sequence[str], source: str = "the run or export") -> None:
    """Raise ValueError, with the first image, unless all `values` (B, R) of the images `names` are finite numbers.

    Args:
        source: what computed them, for the message.
    """
    wrong = (~values.isfinite().all(1)).nonzero().flatten().tolist()
    if wrong:
        raise ValueError(
            f"the answer for {plain(names[wrong[0]])} is not a number, as for {len(wrong)} of {len(names)} images of "
            f"this batch: {plain(source)} has weights that are too large, or its precision is too low"
        )


def best(p: Tensor, names: Sequence[str], top: int) -> list[tuple[str, float]]:
    """The `top` most likely classes with their probabilities, from probabilities (R,)."""
    values, columns = p.topk(min(top, len(p)))
    return [(names[c], value) for c, value in zip(columns.tolist(), values.tolist())]


def text_of(prediction: Prediction, names: Sequence[str], top: int) -> str:
    """One line per image; with several sources, the path and a line per source."""
    lines = []
    for source, p in prediction.scores.items():
        found = ", ".join(f"{plain(name)} {100 * value:.1f} %" for name, value in best(p, names, top))
        lines.append(f"  {source}: {found}" if source else f"{plain(prediction.path)}: {found}")
    return "\n".join(lines if "" in prediction.scores else [f"{plain(prediction.path)}:", *lines])


def csv_of(made: Sequence[Prediction], task: str, names: Sequence[str], top: int) -> str:
    """For spreadsheets: rows path,task,rank,class,probability of the `top` classes. With several sources, rows
    path,task,class and a column of probabilities per source, for all classes."""
    made = [prediction for prediction in made if not prediction.error]
    sources = list(made[0].scores) if made else [""]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")

    def write(row: Sequence[object]) -> None:
        writer.writerow([spreadsheet(str(cell) if isinstance(cell, Path) else cell) for cell in row])

    if sources == [""]:
        write(["path", "task", "rank", "class", "probability"])
        for prediction in made:
            for rank, found in enumerate(best(prediction.scores[""], names, top), start=1):
                write([prediction.path, task, rank, *found])
        return file.getvalue()
    write(["path", "task", "class", *sources])
    for prediction in made:
        for name, *values in zip(names, *(p.tolist() for p in prediction.scores.values())):
            write([prediction.path, task, name, *values])
    return file.getvalue()


def json_of(made: Sequence[Prediction], task: str, names: Sequence[str], top: int, source: str) -> str:
    """An object with the source, the task, its classes, the images with their `top` classes, and the errors.

    Bytes of a path that are not UTF-8 are escapes, as \\udce9, from which Python's json and os.fsencode make it again.
    """

    def found(p: Tensor) -> list[dict[str, Any]]:
        return [{"class": name, "probability": value} for name, value in best(p, names, top)]

    images = []
    for prediction in made:
        if not prediction.error:
            sources = {name: found(p) for name, p in prediction.scores.items()}
            images.append({"path": str(prediction.path), "predictions": sources.get("", sources)})
    errors = [{"path": str(p.path), "error": p.error} for p in made if p.error]
    result = {"source": source, "task": task, "classes": list(names), "images": images, "errors": errors}
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    return text.encode(errors="backslashreplace").decode()
