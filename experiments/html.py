"""report.html: a page in one file, with its pictures, style and script, that asks nothing of a network."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
import pandas as pd

from .confusion import BUDGET, MethodConfusion, TaskConfusion, matrix_picture, of_method
from .contents import Section, gains, signed
from .styles import highlights
from .tables import SECTION, method_name, shots_name, tested

PAGE = Path(__file__).parent / "page"
NAMED_CLASSES = 25  # of a task whose confusion matrix has names and numbers; of more it is a picture
MOST_CONFUSIONS = 4  # methods of all sections whose mistakes are shown
MOST_GAINS = 4  # sections with a table of gains
COMMANDS_BYTES = 600_000  # of commands, at most


def html(
    sections: Sequence[Section],
    records: Sequence[Mapping],
    pictures: Mapping[str, bytes],
    notes: Sequence[str] = (),
    data: Path | None = None,
    inside: Sequence[Mapping] = (),
    title: str = "Results",
) -> str:
    """The page of a report.

    Args:
        records: with their names in the key "method"; their runs' predictions are looked for beside their files.
        pictures: {what they show: PNG}.
        notes: what is left out or kept apart.
        data: where the test images are; None for the runs' own DATASET.ROOT.
        inside: of `inside.insides`.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    commands, left_out = commands_of(records)
    return environment.get_template("report.html").render(
        title=title,
        css=(PAGE / "style.css").read_text(encoding="utf-8"),
        script=(PAGE / "sort.js").read_text(encoding="utf-8"),
        sections=sections,
        pictures=[{"alt": alt, "url": png_url(content)} for alt, content in pictures.items()],
        gains=[
            [_shaded(*gain) for gain in gains(section)] if i < MOST_GAINS else [] for i, section in enumerate(sections)
        ],
        confusions=confusions(sections, records, data),
        commands=commands,
        commands_left_out=left_out,
        environment=environment_table(records),
        inside=inside,
        notes=notes,
    )


def png_url(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


def _shaded(heading: str, values: pd.DataFrame) -> tuple[str, pd.DataFrame, pd.DataFrame]:
    """Texts of gains, with blue behind what is above zero and red behind what is below."""
    most = max(5.0, float(values.abs().max().max()))
    table = values.map(signed).reset_index(names="method")
    return heading, table, values.map(lambda value: shade(value / most))


def shade(share: float) -> str:
    """A CSS colour: the blue, or for negative shares the red, of the pictures at an opacity of up to 0.6."""
    if not abs(share) > 0.01:  # NaN too
        return ""
    color = "0, 114, 178" if share > 0 else "213, 94, 0"
    return f"rgba({color}, {0.6 * min(1, abs(share)):.2f})"


def confusions(sections: Sequence[Section], records: Sequence[Mapping], data: Path | None) -> list[list[dict]]:
    """Of each section the mistakes of SoftCPT and its best rival at their most shots, of the first few sections."""
    wanted, runs = [], {}
    for record in records:
        runs.setdefault(section_key(record), []).append(record)
    for i, section in enumerate(sections):
        stressed = highlights(section.summary)
        own = runs[tuple(section.name[key] for key in SECTION)]
        for method in filter(None, (stressed.hero, stressed.rival)):
            shots = [record["shots"] for record in own if record["method"] == method]
            wanted.append((i, own, method, max(shots, key=lambda count: float("inf") if count < 0 else count)))
    shown: list[list[dict]] = [[] for _ in sections]
    for i, own, method, shots in wanted[:MOST_CONFUSIONS]:
        found = of_method(own, method, shots, data, BUDGET // min(len(wanted), MOST_CONFUSIONS))
        if found is not None:
            shown[i].append(_confusion(found))
    return shown


def section_key(record: Mapping) -> tuple[str, ...]:
    """The section that a record belongs to."""
    return record["dataset"], record["backbone"], record["split"], tested(record["tasks"])


def _confusion(found: MethodConfusion) -> dict:
    runs = f"{len(found.seeds)} runs (seeds {', '.join(map(str, sorted(found.seeds)))})"
    return {
        "method": found.method,
        "shots": shots_name(found.shots),
        "runs": runs if len(found.seeds) > 1 else "one run",
        "note": found.note,
        "tasks": [_task(task) for task in found.tasks],
    }


def _task(task: TaskConfusion) -> dict:
    counts = task.counts.to_numpy()
    large = len(counts) > NAMED_CLASSES
    totals = counts.sum(1)
    return {
        "name": task.task,
        "right": f"{counts.trace():,}",
        "total": f"{counts.sum():,}",
        "classes": list(task.counts.index),
        "picture": png_url(matrix_picture(task.counts)) if large else "",
        "rows": []
        if large
        else [
            [(int(n), shade(n / max(1, total) * (1 if r == c else -1))) for c, n in enumerate(row)]
            for r, (row, total) in enumerate(zip(counts, totals))
        ],
        "pairs": task.pairs,
    }


def commands_of(records: Sequence[Mapping]) -> tuple[list[tuple[str, list[str]]], int]:
    """Each method's commands, in order, and how many of all did not fit."""
    grouped: dict[str, list[str]] = {}
    size, left_out = 0, 0
    for record in records:
        text = command_of(record)
        size += len(text)
        if size > COMMANDS_BYTES:
            left_out += 1
        else:
            grouped.setdefault(method_name(record), []).append(text)
    return list(grouped.items()), left_out


def command_of(record: Mapping) -> str:
    """The command of a run; of one that did not record it, the one that its config.yaml makes."""
    if record.get("command"):
        return record["command"]
    path = Path(record.get("path", "results.json")).absolute()
    config = path.with_name("config.yaml")
    if not config.is_file():
        return f"not recorded: {path}"
    return f"python train.py --config-file {config} --output-dir NEW_FOLDER"


def environment_table(records: Sequence[Mapping]) -> pd.DataFrame:
    """What the runs were made with, a row for each value that differs, with the number of runs."""
    counts: dict[tuple[str, str], int] = {}
    for record in records:
        values = {"commit": record["commit"], "device": record["device"], "backbone": record["backbone"]}
        for pair in {**values, **record["versions"]}.items():
            counts[pair] = counts.get(pair, 0) + 1
    order = {key: i for i, key in enumerate(dict.fromkeys(key for key, _ in counts))}
    rows = sorted(((*pair, f"{count:,}") for pair, count in counts.items() if pair[1]), key=lambda row: order[row[0]])
    return pd.DataFrame(rows, columns=["what", "value", "runs"])
