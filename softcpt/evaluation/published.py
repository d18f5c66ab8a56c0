"""Published zero-shot accuracies (configs/published_zeroshot.csv), and whether measured ones agree with them."""

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields

from ..tasks import METRICS, is_template
from .provenance import PROJECT_ROOT

TABLE = PROJECT_ROOT / "configs" / "published_zeroshot.csv"
TOLERANCE = 0.5  # points: half precision and image decoders change a few predictions in a thousand


@dataclass(frozen=True)
class Published:
    """A row of the table: a zero-shot accuracy in percent that a paper reports, with data set, CLIP and prompt."""

    dataset: str  # its registered name
    backbone: str  # OpenAI's name
    accuracy: float
    metric: str  # accuracy or mean_per_class
    template: str  # the prompt, with {} for the class name
    source: str  # paper, table, row

    def matches(self, measured: float) -> bool:
        """Whether a measured value agrees with the published one, to two decimals and within the tolerance."""
        return round(abs(measured - self.accuracy), 2) <= TOLERANCE


def read_published(path: str | os.PathLike = TABLE) -> list[Published]:
    """The rows of a table. Raises ValueError, with the line, for a wrong header or value and for two equal rows."""
    names = [column.name for column in fields(Published)]
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, restkey="", restval="")
        if reader.fieldnames != names:
            raise ValueError(f"{path}, line 1: the header must be {','.join(names)}, found {reader.fieldnames}")
        rows = [_published(row, f"{path}, line {reader.line_num}") for row in reader]
    keys = [(row.dataset, row.backbone, row.metric, row.template) for row in rows]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice:
        raise ValueError(f"{path}: two lines for {', '.join(twice)}")
    return rows


def _published(row: dict[str, str], where: str) -> Published:
    empty = [name for name, value in row.items() if not value or not name]
    if empty:
        raise ValueError(f"{where}: {f'no {empty[0]}' if empty[0] else 'too many fields'}")
    try:
        accuracy = float(row["accuracy"])
    except ValueError:
        accuracy = -1.0
    if not 0 <= accuracy <= 100:
        raise ValueError(f"{where}: accuracy is {row['accuracy']!r}, not a percentage")
    if row["metric"] not in METRICS:
        raise ValueError(f"{where}: metric is {row['metric']!r}, use one of {', '.join(METRICS)}")
    if not is_template(row["template"]):
        raise ValueError(f"{where}: template {row['template']!r} must have one {{}} for the class name")
    texts = {key: row[key] for key in ("dataset", "backbone", "metric", "template", "source")}
    return Published(accuracy=accuracy, **texts)


def published_of(rows: Sequence[Published], dataset: str, backbone: str) -> list[Published]:
    """The rows of a data set and a CLIP."""
    return [row for row in rows if (row.dataset, row.backbone) == (dataset, backbone)]
