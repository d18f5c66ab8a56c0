"""The paper's numbers beside the measured ones, matched by what a method is, whatever a sweep or a run calls it."""

import re
from collections.abc import Iterable, Mapping

import pandas as pd

from evaluation.provenance import PROJECT_ROOT

from .sweeps import on_benchmark, read_sweep
from .tables import MISSING, cell, duration, method_name, shots_name, shots_table

SWEEPS = PROJECT_ROOT / "configs" / "sweeps"
PAPER_TABLE = SWEEPS / "paper_table.csv"
PAPER_SWEEP = SWEEPS / "table1.yaml"  # whose labels are the names of the paper's table
# What a run's variant may say beside what the method is: its budget of steps and its backbone.
BESIDE = re.compile(r"(_|^)(MAX_STEPS|NAME)-[A-Za-z0-9.,=-]*")


def paper_names(records: Iterable[Mapping], benchmark: str) -> dict[str, str]:
    """{a method's name in tables: its name in the paper's table} of records whose trainer and variant, apart from a
    budget of steps and a backbone, are those of a method of the paper on that benchmark (a data set's name)."""
    own = {}
    for method in on_benchmark(read_sweep(PAPER_SWEEP), benchmark.lower()):
        own[method.trainer, method.run_label] = method.label
    names = {}
    for record in records:
        kind = record["trainer"], BESIDE.sub("", record["variant"])
        if kind in own:
            names[method_name(record)] = own[kind]
    return names


def paper_table(section: pd.DataFrame, published: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """The average over tasks, methods x shots, and after each column the paper's of the same name, if it has one.

    Args:
        published: a row per method of the paper with the columns of paper_table.csv.
        names: {method of the section: method of the paper}, see `paper_names`.
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
        own = [rows.get(names.get(method, ""), {}) for method in measured.index]
        columns[f"{title}, paper"] = [_published(row, key) for row in own]
    return pd.DataFrame(columns, index=measured.index).reset_index()


def _published(row: Mapping, key: str) -> str:
    """A cell of the paper's table: `key` is "s<shots>", "parameters" or "training"."""
    if key == "s0":  # what learns nothing has one number, in place of the average over shots
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
