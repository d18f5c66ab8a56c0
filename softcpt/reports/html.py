"""report.html: one page that contains its pictures, style and script, and loads nothing from the network."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
import pandas as pd

from softcpt.files.texts import counted, plain

from .confusion import BUDGET, MethodConfusion, TaskConfusion, matrix_picture, of_method
from .pictures import data_url
from .sections import Section, gains, signed
from .styles import highlights
from .tables import SECTION, method_name, tested
from .texts import shots_name, shots_order, sides

PAGE = Path(__file__).parent / "page"
NAMED_CLASSES = 25  # the confusion matrix of a task with more classes is a picture without names and numbers
MOST_CONFUSIONS = 4  # methods, over all sections, whose mistakes are shown
MOST_GAINS = 4  # sections with a table of gains
TITLE_NAMES = 3  # data sets in the page's title
COMMANDS_BYTES = 600_000  # commands beyond are left out


def html(
    sections: Sequence[Section],
    records: Sequence[Mapping],
    pictures: Mapping[str, bytes],
    notes: Sequence[str] = (),
    data: Path | None = None,
) -> str:
    """The page of a report.

    Args:
        records: with their methods in the key "method"; predictions are read from their folders.
        pictures: {description: PNG}.
        notes: on runs that are left out or kept apart.
        data: folder of the test images; None for the runs' own DATASET.ROOT.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["counted"] = counted
    environment.filters["sides"] = sides
    commands, left_out = commands_of(records)
    return environment.get_template("report.html").render(
        title=page_title(sections),
        css=(PAGE / "style.css").read_text(encoding="utf-8"),
        script=(PAGE / "sort.js").read_text(encoding="utf-8"),
        sections=sections,
        pictures={alt: data_url(content) for alt, content in pictures.items()},
        gains=[[_shaded(*gain) for gain in gains(section)] for section in sections[:MOST_GAINS]],
        confusions=confusions(sections, records, data),
        commands=commands,
        commands_left_out=left_out,
        environment=environment_table(records),
        notes=notes,
    )


def page_title(sections: Sequence[Section]) -> str:
    """The title of the page: the data sets, of many the first ones."""
    names = list(dict.fromkeys(section.name["dataset"] for section in sections))
    more = f" and {len(names) - TITLE_NAMES} more" if len(names) > TITLE_NAMES else ""
    return f"Results: {', '.join(names[:TITLE_NAMES])}{more}" if names else "Results"


def _shaded(heading: str, values: pd.DataFrame) -> tuple[str, pd.DataFrame, pd.DataFrame]:
    """Gains as texts, and the background of each: blue above zero, red below."""
    most = max(5.0, float(values.abs().max().max()))
    table = values.map(signed).reset_index(names="method")
    return heading, table, values.map(lambda value: shade(value / most))


def shade(share: float) -> str:
    """A CSS colour with an opacity of up to 0.6: blue for positive shares, red for negative ones."""
    if not abs(share) > 0.01:  # also NaN
        return ""
    color = "0, 114, 178" if share > 0 else "213, 94, 0"
    return f"rgba({color}, {0.6 * min(1, abs(share)):.2f})"


def confusions(sections: Sequence[Section], records: Sequence[Mapping], data: Path | None) -> list[list[dict]]:
    """For each section the mistakes of SoftCPT and its best rival at their most shots; MOST_CONFUSIONS in all."""
    runs: dict[tuple, list[Mapping]] = defaultdict(list)
    for record in records:
        runs[record["dataset"], record["backbone"], record["split"], tested(record["tasks"])].append(record)
    wanted = []
    for i, section in enumerate(sections):
        stressed = highlights(section.summary)
        own = runs[tuple(section.name[key] for key in SECTION)]
        for method in filter(None, (stressed.hero, stressed.rival)):
            shots = [record["shots"] for record in own if record["method"] == method]
            wanted.append((i, own, method, max(shots, key=shots_order)))
    shown: list[list[dict]] = [[] for _ in sections]
    for i, own, method, shots in wanted[:MOST_CONFUSIONS]:
        found = of_method(own, method, shots, data, BUDGET // min(len(wanted), MOST_CONFUSIONS))
        if found is not None:
            shown[i].append(_confusion(found))
    return shown


def _confusion(found: MethodConfusion) -> dict:
    several = f"{len(found.seeds)} runs (seeds {', '.join(map(str, sorted(found.seeds)))})"
    runs = several if len(found.seeds) > 1 else "one run"
    return {**vars(found), "shots": shots_name(found.shots), "runs": runs, "tasks": list(map(_task, found.tasks))}


def _task(task: TaskConfusion) -> dict:
    large = len(task.classes) > NAMED_CLASSES
    rows = [
        [(int(n), shade(n / max(1, row.sum()) * (1 if r == c else -1))) for c, n in enumerate(row)]
        for r, row in enumerate([] if large else task.matrix())
    ]
    return {
        "name": plain(task.task),
        "right": f"{sum(n for (true, predicted), n in task.counts.items() if true == predicted):,}",
        "total": f"{sum(task.counts.values()):,}",
        "classes": [] if large else [plain(name) for name in task.classes],
        "picture": data_url(matrix_picture(task)) if large else "",
        "rows": rows,
        "pairs": task.pairs,
    }


def commands_of(records: Sequence[Mapping]) -> tuple[list[tuple[str, list[str]]], int]:
    """The commands of each method, and the number of commands left out because the page would be too large."""
    grouped, size, left_out = defaultdict(list), 0, 0
    for record in records:
        text = command_of(record)
        size += len(text)
        if size > COMMANDS_BYTES:
            left_out += 1
        else:
            grouped[method_name(record)].append(text)
    return list(grouped.items()), left_out


def command_of(record: Mapping) -> str:
    """The command of a run; if it was not recorded, one made from the run's config.yaml."""
    if record.get("command"):
        return plain(record["command"], keep="\n")
    path = Path(record.get("path", "results.json")).absolute()
    config = path.with_name("config.yaml")
    known = f"python train.py --config-file {config} --output-dir NEW_FOLDER"
    return known if config.is_file() else f"not recorded: {path}"


def environment_table(records: Sequence[Mapping]) -> pd.DataFrame:
    """Commits, devices, backbones and versions, one row per value, with the number of runs."""
    counts: dict[str, Counter] = defaultdict(Counter)
    for record in records:
        values = {key: record[key] for key in ("commit", "device", "backbone")}
        for what, value in {**values, **record["versions"]}.items():
            counts[what][value] += 1
    rows = [(what, value, f"{n:,}") for what, own in counts.items() for value, n in own.items() if value]
    return pd.DataFrame(rows, columns=["what", "value", "runs"])
