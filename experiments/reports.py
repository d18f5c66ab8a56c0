"""The report of finished runs: report.md, report.csv and accuracy.png; and the paper's numbers beside the measured."""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import pandas as pd

from evaluation.provenance import PROJECT_ROOT
from evaluation.records import read_records
from files import write_atomically

from .base2new import base_to_new, base_to_new_report, base_to_new_summary
from .plots import accuracy_figure, png
from .sweeps import HALVES, Method, for_halves, on_benchmark, with_steps
from .tables import (
    MISSING,
    cell,
    csv,
    duration,
    markdown,
    results_frame,
    section_report,
    sections,
    shots_name,
    shots_table,
    summarise,
)

PAPER_TABLE = PROJECT_ROOT / "configs" / "sweeps" / "paper_table.csv"


def write_report(
    out_dir: Path,
    to: Path,
    methods: Iterable[Method] = (),
    paper: bool = False,
    steps: Mapping[int, int] | None = None,
    folders: Collection[Path] | None = None,
) -> str:
    """Write the report of the runs below `out_dir` into `to` and return its text.

    Args:
        methods: of a sweep: only their runs, under their labels and in their order; none for all runs.
        paper: add, for the paper's benchmarks, its table beside the measured one.
        steps: {shots: steps} of a sweep, see `named_records`.
        folders: the run folders to report; by default all.

    Raises ValueError if there is no such finished run.
    """
    methods = list(methods)
    records = in_folders(read_records(out_dir), folders)
    records = named_records(records, methods, steps) if methods else records
    check_some(records, out_dir, " of this sweep" if methods else "")
    summary = summarise(results_frame(records), [method.label for method in methods])
    published = pd.read_csv(PAPER_TABLE) if paper else pd.DataFrame({"benchmark": []})
    parts = ["# Results"]
    for name, rows in sections(summary):
        parts.append(section_report(name, rows))
        own = published[published["benchmark"] == name["dataset"]]
        if paper:
            parts.append(paper_report(rows, own) if len(own) else f"The paper has no numbers for {name['dataset']}.")
    text = "\n\n".join(parts) + "\n"
    to.mkdir(parents=True, exist_ok=True)
    write_atomically(to / "accuracy.png", png(accuracy_figure(summary)))
    write_atomically(to / "report.csv", csv(summary))
    write_atomically(to / "report.md", text.replace("\n", "\n\n![Accuracy against shots](accuracy.png)\n", 1))
    return text


def write_halves_report(
    out_dir: Path,
    to: Path,
    methods: Iterable[Method],
    halves: str,
    steps: Mapping[int, int] | None = None,
    folders: Collection[Path] | None = None,
) -> str:
    """Write report.md and report.csv of a sweep's runs on the halves of the classes, or of the tasks, into `to`.

    Returns the text; raises ValueError if there is no such finished run.
    """
    methods = list(methods)
    records = named_records(in_folders(read_records(out_dir), folders), methods, steps, halves)
    check_some(records, out_dir, f" of this sweep on halves of the {halves}")
    place = {method.label: i for i, method in enumerate(methods)}
    records.sort(key=lambda record: place[record["method"]])
    text = "\n\n".join(["# Results", base_to_new_report(records, halves)]) + "\n"
    to.mkdir(parents=True, exist_ok=True)
    numbers = base_to_new_summary(base_to_new(records, halves))
    write_atomically(to / "report.csv", numbers.to_csv(index=False, lineterminator="\n"))
    write_atomically(to / "report.md", text)
    return text


def in_folders(records: list[dict], folders: Collection[Path] | None) -> list[dict]:
    """The records of the runs in `folders`; all of them for None."""
    if folders is None:
        return records
    return [record for record in records if Path(record["path"]).parent in folders]


def check_some(records: list, out_dir: Path, of: str) -> None:
    if not records:
        raise ValueError(f"{out_dir}: no results.json below this folder, so no finished run{of} to report")


def named_records(
    records: Iterable[Mapping], methods: Iterable[Method], steps: Mapping[int, int] | None = None, halves: str = ""
) -> list[dict]:
    """The records that are runs of `methods`, by their folders, each with the method's label in the key "method".

    With `steps` and `halves`, see `plan`, only the runs with that budget and on these halves; without, none of halves.
    """
    methods, found = list(methods), []
    for record in records:
        benchmark, trainer, label, half = _run_of(Path(record["path"]))
        shots = record["shots"]
        if half.partition("-")[2] != halves or (steps and shots and shots not in steps):
            continue
        runs = {}
        for method in for_halves(on_benchmark(methods, benchmark), halves):
            run = with_steps(method, (steps or {}).get(shots, 0))
            runs[run.trainer, run.run_label or "default"] = run.label
        if (trainer, label) in runs:
            found.append({**record, "method": runs[trainer, label]})
    return found


def _run_of(path: Path) -> tuple[str, str, str, str]:
    """Benchmark, trainer, variant and half, or "", of a record's file, which lies in
    <benchmark>/<trainer>/<config>_<shots>shots/<variant>[/<half>]/seed<n>."""
    parts = ["", *path.absolute().parts[:-2]]
    half = parts.pop() if re.fullmatch(f"(base|new)-({'|'.join(HALVES)})", parts[-1]) else ""
    benchmark, trainer, _, label = [*[""] * 3, *parts][-4:]
    return benchmark, trainer, label, half


def paper_report(section: pd.DataFrame, published: pd.DataFrame) -> str:
    """The comparison of a section with the paper's rows of the same benchmark, in Markdown."""
    table = markdown(paper_table(section, published))
    note = "The paper's columns: mean ± standard deviation over three seeds, RN50."
    return "\n\n".join(["### Beside the paper's numbers", table, note])


def paper_table(section: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """The average over tasks, methods x shots, and after each column the paper's of the same name, if it has one.

    Methods are matched by their labels; `published` has a row per method with the columns of paper_table.csv.
    """
    measured = shots_table(section).set_index("method")
    rows = published.set_index("method").to_dict("index")
    keys = {shots_name(shots): f"s{shots}" for shots in section["shots"].unique()}
    columns = {}
    for title in measured:
        columns[title] = measured[title]
        key = keys.get(title, title)
        if key in ("steps", "memory"):
            continue
        columns[f"{title}, paper"] = [_published(rows.get(method, {}), key) for method in measured.index]
    return pd.DataFrame(columns, index=measured.index).reset_index()


def _published(row: Mapping, key: str) -> str:
    """A cell of the paper's table: `key` is "s<shots>", "parameters" or "training"."""
    if key == "s0":  # what learns nothing has one number, in the place of the average over shots
        key = "avg" if pd.isna(row.get("s1")) else ""
    value = row.get({"parameters": "params", "training": "train_minutes"}.get(key, key))
    if pd.isna(value):
        return MISSING
    if key == "parameters":
        return f"{value:,.0f}"
    if key == "training":
        return duration(60 * value)
    runs = 3 if row[f"{key}_sd"] else 1
    return cell(value, row[f"{key}_sd"], runs, runs)
