"""Which tasks gain from which: runs on all tasks against runs that leave one task out."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from softcpt.files.texts import plain

from .sections import signed
from .texts import markdown, shots_name

WITHOUT = re.compile(r"(^|_)without-.+$")  # end of the variant of a run that leaves a task out
SAME = ("trainer", "variant", "dataset", "shots", "backbone")  # equal for all runs of a matrix


@dataclass(frozen=True)
class Gains:
    """The change of each task's metric, in points, when another task is left out of a method's training.

    Attributes:
        method: the values of SAME.
        change: (T, T), row the task left out, column the task tested; the mean over the seeds that both runs have. NaN
            on the diagonal and without such runs.
        deviation: (T, T), its sample standard deviation, NaN for fewer than two seeds.
        n: (T, T), the number of seeds.
    """

    method: Mapping
    tasks: list[str]
    change: np.ndarray
    deviation: np.ndarray
    n: np.ndarray

    @property
    def name(self) -> str:
        trainer, variant, dataset, shots, _ = self.method.values()
        return f"{f'{trainer} {variant}'.strip()}, {dataset}, {shots_name(shots)}"


def gains_of(records: Iterable[Mapping]) -> list[Gains]:
    """A matrix for each method, data set, number of shots and CLIP that has runs on all tasks and, with the same seeds,
    runs that leave one task out.

    All tasks are those of the run with the most tasks. Evaluations of other runs and runs on halves of the classes do
    not count. Raises ValueError if there is nothing to compare, or if two records are of the same run.
    """
    groups: dict[tuple, dict[tuple, dict]] = defaultdict(dict)
    for record in records:
        if record.get("loaded_from") or "-classes" in record["split"]:
            continue
        values = {plain(task["name"]): task["value"] for task in record["tasks"]}
        own = {**record, "variant": WITHOUT.sub("", record["variant"])}
        run = frozenset(values), record["seed"]
        runs = groups[tuple(own[key] for key in SAME)]
        if run in runs:
            where = " and ".join(str(some.get("path", "a record")) for some in (runs[run]["record"], record))
            raise ValueError(f"{where} are of the same run: {', '.join(f'{key} {own[key]}' for key in SAME)}")
        runs[run] = {"record": record, "values": values}
    found = [gains for key, runs in groups.items() if (gains := _matrix(key, runs))]
    if not found:
        raise ValueError(
            "no runs on all tasks beside runs that leave one task out: "
            "python scripts/sweep.py configs/sweeps/leave_one_out.yaml --benchmark demo"
        )
    return sorted(found, key=lambda gains: (gains.name, gains.method["backbone"]))


def _matrix(key: tuple, runs: Mapping[tuple, Mapping]) -> Gains | None:
    everything = max((names for names, _ in runs), key=len)
    full = {seed: run["values"] for (names, seed), run in runs.items() if names == everything}
    tasks = list(next(iter(full.values())))
    rows = []
    for (names, seed), run in sorted(runs.items(), key=lambda item: item[0][1]):
        left_out = everything - names
        if len(left_out) == 1 and seed in full and len(tasks) > 1:
            pairs = [(task, run["values"].get(task), full[seed].get(task)) for task in tasks]
            rows += [(*left_out, task, a - b) for task, a, b in pairs if a is not None and b is not None]
    if not rows:
        return None
    cells = pd.DataFrame(rows, columns=["left out", "tested", "change"]).groupby(["left out", "tested"])["change"]
    every = cells.agg(["mean", "std", "count"]).reindex(pd.MultiIndex.from_product([tasks, tasks]))
    change, deviation, n = every.to_numpy().T.reshape(3, len(tasks), len(tasks))
    return Gains(dict(zip(SAME, key)), tasks, change, deviation, np.nan_to_num(n).astype(int))


def as_json(gains: Gains) -> dict:
    """A matrix as plain values, with None for NaN."""

    def plain(matrix: np.ndarray) -> list[list[float | None]]:
        return [[None if np.isnan(value) else round(float(value), 6) for value in row] for row in matrix]

    return {
        **gains.method,
        "tasks": gains.tasks,
        "rows": "task left out of training",
        "columns": "task tested",
        "change": plain(gains.change),
        "deviation": plain(gains.deviation),
        "n": gains.n.tolist(),
    }


def gains_table(gains: Gains) -> str:
    """The matrix as a Markdown table, with the mean effect of each task on the others."""
    change = pd.DataFrame(gains.change, index=gains.tasks, columns=gains.tasks)
    table = pd.concat([change, change.mean(axis=1).rename("mean")], axis=1).map(signed)
    return markdown(table.reset_index(names="left out"))
