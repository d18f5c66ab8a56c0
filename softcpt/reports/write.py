"""Writing the report of finished runs: Markdown, CSV, LaTeX, one HTML page and pictures."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from softcpt.files import write_atomically
from softcpt.files.texts import markdown_text

from ..sweeps import HALVES, Method
from .base_to_new import base_to_new, base_to_new_report, base_to_new_summary
from .html import html
from .joint_training import pairs
from .latex import document
from .names import shown_name
from .paper import PAPER_TABLE, paper_names, paper_table
from .picking import PICKED, picks, picks_on_halves, validation_frame
from .pictures import png
from .plots import MOST_SECTIONS, accuracy_figure, halves_figure, tasks_figure
from .runs import runs_below
from .sections import Section, Table, markdown_of, section_of
from .statistics import check_names
from .tables import SECTION, csv, results_frame, sections, summarise
from .texts import markdown, section_title

REPORT_FILES = ("report.md", "report.csv", "report.tex", "report.html", "accuracy.png", "tasks.png")
HALVES_FILES = ("report.md", "report.csv", "halves.png")
PAPER_NOTE = (
    "The paper's columns: mean ± standard deviation over three seeds, RN50. The authors' code measures LP-CLIP with "
    "the two metrics exchanged, so the paper's LP-CLIP is not comparable with its other rows; ours is."
)
PICTURES = {"accuracy.png": "Accuracy of every method", "tasks.png": "Accuracy of every task"}


def write_report(
    out_dir: Path,
    to: Path,
    methods: Iterable[Method] = (),
    paper: bool = False,
    steps: Mapping[int, int] | None = None,
    *,
    folders: Collection[Path] | None = None,
    shots: Sequence[int] = (),
    compare: Sequence[Sequence[str]] = (),
    joint: str = "",
    data: Path | None = None,
    reasons: Mapping[str, str] | None = None,
) -> str:
    """Write REPORT_FILES, the report of the runs below `out_dir`, into the folder `to`, and return its text.

    Runs that are unfinished, cannot be read or occur twice are named in the report, and no mean includes them.

    Args:
        methods: the methods of a sweep: only their runs, with their labels and in their order; () for all runs.
        paper: show the paper's numbers beside the measured ones, for the paper's benchmarks.
        steps: {shots: steps} of the sweep, see `named_records`.
        folders: only the runs in these folders; None for all.
        shots: only runs at these numbers of shots, and those without training images; () for all.
        compare: pairs (A, B) of methods to test; by default SoftCPT, or the best method, against all others.
        joint: a method whose joint and separate training are compared, see `joint_training.pairs`; "" for none.
        data: folder of the test images, for the HTML page; None for the folder that the runs used.
        reasons: {label: why} of methods that have no runs, which the report names.

    Raises ValueError without a finished run, or if `compare` or `joint` names an unknown method.
    """
    methods = list(methods)
    records, notes = runs_below(out_dir, methods, steps, "", folders, shots, reasons)
    frame = results_frame(records)
    summary = summarise(frame, [shown_name(method.label, "method") for method in methods])
    compare = [[shown_name(name, "method") for name in pair] for pair in compare]
    check_names([name for pair in compare for name in pair], summary["method"].unique())
    found = section_contents(records, frame, summary, paper, compare, joint)
    if len(found) > MOST_SECTIONS:
        notes.append(f"the pictures show the first {MOST_SECTIONS} of the {len(found)} sections")
    drawn = {"accuracy.png": png(accuracy_figure(summary)), "tasks.png": png(tasks_figure(summary))}
    text = markdown_report(found, notes)
    links = "\n".join(f"![{alt}]({name})\n" for name, alt in PICTURES.items())
    page = html(found, records, {PICTURES[name]: content for name, content in drawn.items()}, notes, data)
    files = {**drawn, "report.html": page, "report.tex": document(found), "report.csv": csv(summary)}
    _write(to, {**files, "report.md": text.replace("\n", f"\n\n{links}", 1)})
    return text


def write_halves_report(
    out_dir: Path,
    to: Path,
    methods: Iterable[Method],
    halves: str,
    steps: Mapping[int, int] | None = None,
    *,
    folders: Collection[Path] | None = None,
    shots: Sequence[int] = (),
    reasons: Mapping[str, str] | None = None,
) -> str:
    """Write HALVES_FILES, the report of a sweep's runs on halves of the "classes" or "tasks", into the folder `to`.

    The arguments, the returned text and the errors are those of `write_report`.
    """
    records, notes = runs_below(out_dir, list(methods), steps, halves, folders, shots, reasons)
    parts = [base_to_new_report(records, halves), *picks_on_halves(records, halves), *left_out_text(notes)]
    text = "\n\n".join(["# Results", *parts]) + "\n"
    numbers = base_to_new_summary(base_to_new(records, halves))
    files = {"halves.png": png(halves_figure(numbers, halves)), "report.csv": csv(numbers)}
    _write(to, {**files, "report.md": text.replace("\n", f"\n\n![Base and new {halves}](halves.png)\n", 1)})
    return text


def recommendation(out_dir: Path, methods: Iterable[Method] = (), shots: Sequence[int] = ()) -> str:
    """Which method to pick by the validation shots of the runs below `out_dir`; arguments as in `write_report`. Raises
    ValueError without a run, or if no run has validation shots."""
    methods = list(methods)
    records, _ = runs_below(out_dir, methods, None, "", None, shots)
    frame = validation_frame(records)
    on_half = frame["split"].astype(str).str.contains("-(?:base|new)-")
    found = []
    for _, rows in frame[~on_half].groupby(SECTION, sort=False):
        table, note = picks(rows)
        name = {key: rows[key].iloc[0] for key in SECTION}
        found += [f"## {markdown_text(section_title(name))}: which to pick", markdown(table), markdown_text(note)]
    found += [text for halves in HALVES for text in picks_on_halves(records, halves)]
    if not found:
        raise ValueError(
            f"{out_dir}: no run has results on validation shots: give the data set validation images apart from the "
            "test's; runs of older versions did not keep them"
        )
    return "\n\n".join(found)


def _write(folder: Path, files: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_atomically(folder / name, content)


def section_contents(
    records: Sequence[Mapping],
    frame: pd.DataFrame,
    summary: pd.DataFrame,
    paper: bool,
    compare: Sequence[Sequence[str]],
    joint: str,
) -> list[Section]:
    """The sections of a report with all their tables; arguments as in `write_report`."""
    published = pd.read_csv(PAPER_TABLE) if paper else pd.DataFrame({"benchmark": []})
    found = pairs(records, joint) if joint else []
    runs = dict(tuple(frame.groupby(SECTION, sort=False)))
    validated = dict(tuple(validation_frame(records).groupby(SECTION, sort=False)))
    contents = []
    for name, rows in sections(summary):
        table, note = pd.DataFrame(), f"The paper has no numbers for {name['dataset']}."
        own = published[published["benchmark"] == name["dataset"]]
        if len(own):
            note = PAPER_NOTE
            table = paper_table(rows, own, paper_names(records, name["dataset"]))
        more = [Table("Beside the paper's numbers", table, note)] if paper else []
        place = tuple(name[key] for key in SECTION)
        section = section_of(name, rows, runs[place], compare, found, more)
        last = [Table(PICKED, *picks(validated[place]))] if place in validated else []
        contents.append(replace(section, tables=[*section.tables, *last]))
    return contents


def markdown_report(found: Sequence[Section], notes: Sequence[str]) -> str:
    """The text of report.md."""
    return "\n\n".join(["# Results", *map(markdown_of, found), *left_out_text(notes)]) + "\n"


def left_out_text(notes: Sequence[str]) -> list[str]:
    """The last part of a report, on the runs that no mean includes; [] without notes."""
    return ["## Left out and kept apart", "\n".join(f"- {markdown_text(note)}" for note in notes)] if notes else []
