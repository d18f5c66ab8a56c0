"""The report of finished runs, as Markdown, CSV, LaTeX, one HTML page and pictures."""

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from storage import write_atomically

from .base2new import base_to_new, base_to_new_report, base_to_new_summary
from .collect import readable_records, told_apart
from .contents import Section, Table, markdown_of, section_of
from .html import html
from .inside import insides
from .joint import pairs
from .latex import document
from .paper import PAPER_TABLE, paper_names, paper_table
from .plots import accuracy_figure, halves_figure, png, tasks_figure
from .sweeps import HALVES, Method, for_halves, on_benchmark, with_steps
from .tables import SECTION, csv, results_frame, sections, summarise

REPORT_FILES = ("report.md", "report.csv", "report.tex", "report.html", "accuracy.png", "tasks.png")
HALVES_FILES = ("report.md", "report.csv", "halves.png")
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
) -> str:
    """Write the report of the runs below `out_dir`, REPORT_FILES, into `to` and return its text.

    Args:
        methods: of a sweep: only their runs, under their labels and in their order; none for all runs.
        paper: add, for the paper's benchmarks, its table beside the measured one.
        steps: {shots: steps} of a sweep, see `named_records`.
        folders: only the runs in these folders; None for all.
        shots: only runs with these numbers, and those that need no training images; none for all.
        compare: pairs (A, B) of methods: does A beat B? None: SoftCPT, or the best method, against all others.
        joint: a method whose joint and separate trainings are compared, see `joint.pairs`.
        data: where the test images are, for the HTML page; None for where the runs found them.

    What cannot be read, is unfinished or is there twice is named in the report and in no mean. Raises ValueError if no
    finished run is left, or for a method of `compare` or `joint` that is not there.
    """
    methods = list(methods)
    records, left_out = readable_records(out_dir, folders)
    records = named_records(records, methods, steps) if methods else records
    records = [record for record in records if not shots or record["shots"] in (0, *shots)]
    if not records:
        check_some([], out_dir, " of this sweep" if methods else "", left_out)
    records, twice = told_apart(records)
    frame = results_frame(records)
    summary = summarise(frame, [method.label for method in methods])
    check_names(compare, summary)
    found = section_contents(records, frame, summary, paper, compare, joint)
    inside, unread = insides(out_dir, [Path(record["path"]).parent for record in records])
    notes = [*left_out, *twice, *unread]
    drawn = {"accuracy.png": png(accuracy_figure(summary)), "tasks.png": png(tasks_figure(summary))}
    text = markdown_report(found, notes, inside, to)
    to.mkdir(parents=True, exist_ok=True)
    for name, content in drawn.items():
        write_atomically(to / name, content)
    shown = {PICTURES[name]: content for name, content in drawn.items()}
    write_atomically(to / "report.html", html(found, records, shown, notes, data, inside))
    write_atomically(to / "report.tex", document(found))
    write_atomically(to / "report.csv", csv(summary))
    links = "\n".join(f"![{alt}]({name})\n" for name, alt in PICTURES.items())
    write_atomically(to / "report.md", text.replace("\n", f"\n\n{links}", 1))
    return text


def section_contents(
    records: Sequence[Mapping],
    frame: pd.DataFrame,
    summary: pd.DataFrame,
    paper: bool,
    compare: Sequence[Sequence[str]],
    joint: str,
) -> list[Section]:
    """The sections of a report with all their tables."""
    published = pd.read_csv(PAPER_TABLE) if paper else pd.DataFrame({"benchmark": []})
    found = pairs(records, joint) if joint else []
    runs = dict(tuple(frame.groupby(SECTION, sort=False)))
    contents = []
    for name, rows in sections(summary):
        more = []
        own = published[published["benchmark"] == name["dataset"]]
        if len(own):
            note = "The paper's columns: mean ± standard deviation over three seeds, RN50."
            table = paper_table(rows, own, paper_names(records, name["dataset"]))
            more = [Table("Beside the paper's numbers", table, note)]
        elif paper:
            more = [Table("Beside the paper's numbers", pd.DataFrame(), f"The paper has none for {name['dataset']}.")]
        contents.append(section_of(name, rows, runs[tuple(name[key] for key in SECTION)], compare, found, more))
    return contents


def markdown_report(found: Sequence[Section], notes: Sequence[str], inside: Sequence[Mapping], to: Path) -> str:
    """The text of report.md in the folder `to`."""
    paths = [Path(os.path.relpath(run["folder"], to), "interpret.md").as_posix() for run in inside]
    links = "\n".join(f"- [{run['title']}]({path.replace(' ', '%20')})" for run, path in zip(inside, paths))
    parts = ["# Results", *map(markdown_of, found), f"## Looking inside\n\n{links}" if links else ""]
    return "\n\n".join([*filter(None, parts), *left_out_text(notes)]) + "\n"


def left_out_text(notes: Sequence[str]) -> list[str]:
    """What a report says at its end of files that are in no mean; nothing where there are none."""
    return ["## Left out and kept apart", "\n".join(f"- {note}" for note in notes)] if notes else []


def check_names(compare: Sequence[Sequence[str]], summary: pd.DataFrame) -> None:
    there = list(summary["method"].unique())
    for name in (name for some in compare for name in some):
        if name not in there:
            raise ValueError(f"no method {name!r} to compare; there are: {', '.join(there)}")


def write_halves_report(
    out_dir: Path,
    to: Path,
    methods: Iterable[Method],
    halves: str,
    steps: Mapping[int, int] | None = None,
    *,
    folders: Collection[Path] | None = None,
    shots: Sequence[int] = (),
) -> str:
    """Write the report of a sweep's runs on the halves of the classes, or of the tasks, HALVES_FILES, into `to`.

    Returns the text; raises ValueError if there is no such finished run. `folders` and `shots` as in `write_report`.
    """
    methods = list(methods)
    records, left_out = readable_records(out_dir, folders)
    records = named_records(records, methods, steps, halves)
    records = [record for record in records if not shots or record["shots"] in (0, *shots)]
    check_some(records, out_dir, f" of this sweep on halves of the {halves}", left_out)
    place = {method.label: i for i, method in enumerate(methods)}
    records.sort(key=lambda record: place[record["method"]])
    records, twice = told_apart(records)
    text = "\n\n".join(["# Results", base_to_new_report(records, halves), *left_out_text([*left_out, *twice])]) + "\n"
    to.mkdir(parents=True, exist_ok=True)
    numbers = base_to_new_summary(base_to_new(records, halves))
    write_atomically(to / "halves.png", png(halves_figure(numbers, halves)))
    write_atomically(to / "report.csv", numbers.to_csv(index=False, lineterminator="\n"))
    write_atomically(to / "report.md", text.replace("\n", f"\n\n![Base and new {halves}](halves.png)\n", 1))
    return text


def check_some(records: list, out_dir: Path, of: str, left_out: Sequence[str] = ()) -> None:
    if not records:
        why = "".join(f"; {text}" for text in left_out)
        raise ValueError(f"{out_dir}: no results.json below this folder, so no finished run{of} to report{why}")


def named_records(
    records: Iterable[Mapping], methods: Iterable[Method], steps: Mapping[int, int] | None = None, halves: str = ""
) -> list[dict]:
    """The records that are runs of `methods`, by their folders, each with the method's label in the key "method".

    With `steps` and `halves`, see `plan`, only the runs with that budget and on these halves; without, none of halves.
    """
    methods, found = list(methods), []
    runs: dict[tuple[str, int], dict[tuple[str, str], str]] = {}
    for record in records:
        benchmark, trainer, label, half = _run_of(Path(record["path"]))
        shots = record["shots"]
        if half.partition("-")[2] != halves or (steps and shots and shots not in steps):
            continue
        if (benchmark, shots) not in runs:
            own = runs[benchmark, shots] = {}
            for method in for_halves(on_benchmark(methods, benchmark), halves):
                run = with_steps(method, (steps or {}).get(shots, 0))
                own[run.trainer, run.run_label or "default"] = run.label
        if (trainer, label) in runs[benchmark, shots]:
            found.append({**record, "method": runs[benchmark, shots][trainer, label]})
    return found


def _run_of(path: Path) -> tuple[str, str, str, str]:
    """Benchmark, trainer, variant and half, or "", of a record's file, which lies in
    <benchmark>/<trainer>/<config>_<shots>shots/<variant>[/<half>]/seed<n>."""
    parts = ["", *path.absolute().parts[:-2]]
    half = parts.pop() if re.fullmatch(f"(base|new)-({'|'.join(HALVES)})", parts[-1]) else ""
    benchmark, trainer, _, label = [*[""] * 3, *parts][-4:]
    return benchmark, trainer, label, half
