"""The paper's numbers beside the measured ones. Methods are matched by trainer and variant, not by a sweep's labels."""

import re
from collections.abc import Iterable, Mapping

import pandas as pd

from softcpt.evaluation.provenance import PROJECT_ROOT

from ..sweeps import on_benchmark, read_sweep
from .tables import method_name, shots_table
from .texts import MISSING, cell, duration, shots_name

SWEEPS = PROJECT_ROOT / "configs" / "sweeps"
PAPER_TABLE = SWEEPS / "paper_table.csv"
PAPER_SWEEP = SWEEPS / "paper.yaml"  # its labels are the names in the paper's table
# Parts of a run's variant that do not name a method: its budget of steps and its backbone.
BESIDE = re.compile(r"(_|^)((OPTIM\.)?MAX_STEPS|(MODEL\.BACKBONE\.)?NAME)-[A-Za-z0-9.,=~-]*")


def paper_names(records: Iterable[Mapping], benchmark: str) -> dict[str, str]:
    """{name of a method in tables: name in the paper's table}, for the records of the paper's methods.

    A record matches by its trainer and its variant, without budget of steps and backbone. `benchmark` is the name of
    the data set.
    """
    methods = on_benchmark(read_sweep(PAPER_SWEEP), benchmark.lower())
    own = {(method.trainer, method.run_label): method.label for method in methods}
    names = {}
    for record in records:
        kind = record["trainer"], BESIDE.sub("", record["variant"])
        if kind in own:
            names[method_name(record)] = own[kind]
    return names


def paper_table(section: pd.DataFrame, published: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Methods x shots of the average over tasks, each column followed by the paper's, if there is one.

    Args:
        published: one row per method of the paper, with the columns of paper_table.csv.
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


def _published(row: Mapping[str, float], key: str) -> str:
    """A cell of the paper's table: `key` is "s<shots>", "parameters" or "training"."""
    if key == "s0":  # a method that learns nothing has one number, in the column of the average
        key = "avg" if pd.isna(row.get("s1")) else ""
    value = row.get({"parameters": "params", "training": "train_minutes"}.get(key, key), float("nan"))
    if pd.isna(value):
        return MISSING
    if key == "parameters":
        return f"{value:,.0f}"
    if key == "training":
        return duration(60 * value)
    runs = 3 if row[f"{key}_sd"] else 1
    return cell(value, row[f"{key}_sd"], runs, runs)
