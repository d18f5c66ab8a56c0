"""Tables of results, as pure functions of the records of runs.

A section holds results that can be compared: one data set, backbone, split and list of tested tasks. Within it, a
method is a trainer with its variant, and a cell is the mean and sample standard deviation over the seeds.
"""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from softcpt.evaluation.records import LEFT_OUT, in_the_mean
from softcpt.files.texts import spreadsheet

from .texts import MISSING, cell, cost_columns, section_titles, shots_name, shots_order

AVERAGE = "average over tasks"  # unweighted; a row beside those of the tasks
SECTION = ["dataset", "backbone", "split", "tested"]
COSTS = {  # {column: key of a record}
    "parameters": "n_params",
    "steps": "steps",
    "train_seconds": "train_seconds",
    "peak_memory_bytes": "peak_memory_bytes",
    "device": "device",
}


def results_frame(records: Iterable[Mapping]) -> pd.DataFrame:
    """One row per run and task, and one per run with the task AVERAGE. Values in percent, times in seconds.

    Columns: dataset, backbone, split, tested (tasks with their numbers of images), method, shots, seed, task, metric,
    value, parameters, steps, train_seconds, peak_memory_bytes, device.

    Raises ValueError, with both files, if two records are of the same run.
    """
    rows: list[dict] = []
    seen: dict[tuple, Mapping] = {}
    for record in records:
        run = {
            **{key: record[key] for key in ("dataset", "backbone", "split")},
            "tested": tested(record["tasks"]),
            "method": method_name(record),
            "shots": record["shots"],
            "seed": record["seed"],
        }
        twin = seen.setdefault(tuple(run.values()), record)
        if twin is not record:
            shots = shots_name(run["shots"])
            raise ValueError(
                f"the same run twice ({run['method']}, {run['dataset']}, {shots}, seed {run['seed']}): "
                f"{twin.get('path', '?')} and {record.get('path', '?')}; "
                "report a folder that holds one of them, or give one another name with TRAINER.LABEL"
            )
        cost = {key: record.get(name) for key, name in COSTS.items()}
        average = {"name": AVERAGE, "metric": "mean over tasks", "value": record["metric"]}
        counting = in_the_mean(record["tasks"])
        for task in [average, *record["tasks"]]:
            value = task["value"] if task is average or task in counting else None
            rows.append({**run, "task": task["name"], "metric": task["metric"], "value": value, **cost})
    frame = pd.DataFrame(rows)
    numbers = ("value", "steps", "train_seconds", "peak_memory_bytes")
    return frame.astype(dict.fromkeys(numbers, float)).fillna({"device": ""}) if rows else frame


def method_name(record: Mapping) -> str:
    """A record's name in tables: its key "method", else its trainer and variant."""
    return record.get("method") or f"{record['trainer']} {record['variant']}".strip()


def tested(tasks: Sequence[Mapping]) -> str:
    """The tasks of a record with their numbers of images, metrics other than accuracy, and why one does not count."""
    facts = ["" if task["metric"] == "accuracy" else f", {task['metric'].replace('_', ' ')}" for task in tasks]
    facts = [fact + (f", {task[LEFT_OUT]}" if task.get(LEFT_OUT) else "") for fact, task in zip(facts, tasks)]
    return ", ".join(f"{task['name']} ({task['n']:,}{fact})" for task, fact in zip(tasks, facts))


def summarise(frame: pd.DataFrame, methods: Sequence[str] = ()) -> pd.DataFrame:
    """The means `over_seeds`: one row per section, method, shots and task. Methods without training images come first,
    then the others in the order of `methods`, then by name."""
    summary = over_seeds(frame.groupby([*SECTION, "method", "shots", "task", "metric"], sort=False))
    order = {
        **{key: summary[key] for key in SECTION},
        "trained": ~summary["method"].isin(zero_shot_methods(summary)),
        "place": summary["method"].map({name: i for i, name in enumerate(methods)}).fillna(len(methods)),
        "name": summary["method"].str.casefold(),
        "shots": summary["shots"].map(shots_order),
        "task": summary["task"].map({task: i for i, task in enumerate(summary["task"].unique())}),
    }
    return summary.loc[pd.DataFrame(order).sort_values(list(order), kind="stable").index].reset_index(drop=True)


def over_seeds(groups: pd.core.groupby.DataFrameGroupBy) -> pd.DataFrame:
    """Each group's mean, sample sd (NaN for one run) and n of the values; the mean of train_seconds; the largest
    parameters, steps and peak_memory_bytes; all devices."""
    return groups.agg(
        mean=("value", "mean"),
        sd=("value", "std"),
        n=("value", "count"),
        parameters=("parameters", "max"),
        steps=("steps", "max"),
        train_seconds=("train_seconds", "mean"),
        peak_memory_bytes=("peak_memory_bytes", "max"),
        device=("device", lambda names: ", ".join(sorted(set(filter(None, names))))),
    ).reset_index()


def zero_shot_methods(summary: pd.DataFrame) -> list[str]:
    """The methods that have no run with training images."""
    untrained = (summary["shots"] == 0).groupby(summary["method"], sort=False).all()
    return list(untrained[untrained].index)


def shots_in(rows: pd.DataFrame) -> list[int]:
    """The numbers of shots in the rows, in order, without 0; [0] if there is no other."""
    return sorted(set(rows["shots"]) - {0}, key=shots_order) or [0]


def at_shots(rows: pd.DataFrame, shots: int) -> pd.DataFrame:
    """The rows at one number of shots, and those of the untrained methods."""
    return rows[(rows["shots"] == shots) | rows["method"].isin(zero_shot_methods(rows))]


def sections(summary: pd.DataFrame, keys: Sequence[str] = SECTION) -> list[tuple[dict[str, str], pd.DataFrame]]:
    """The sections of a summary: {key: value} with the section's "title", and the rows."""
    groups = list(summary.groupby(list(keys), sort=False))
    names = [dict(zip(keys, values)) for values, _ in groups]
    titles = section_titles(names)
    return [
        ({**name, "title": title}, rows.reset_index(drop=True)) for name, title, (_, rows) in zip(names, titles, groups)
    ]


def shots_table(section: pd.DataFrame) -> pd.DataFrame:
    """Methods x shots for the average over tasks, as texts "mean ± sd", followed by the methods' costs."""
    rows = section[section["task"] == AVERAGE]
    table = cells_table(rows.assign(usual=usual_n(section)), "method", "shots")
    table = table[sorted(table, key=shots_order)].rename(columns=shots_name)
    longest = rows.drop_duplicates("method", keep="last").set_index("method").loc[table.index]
    return table.join(cost_columns(longest)).rename_axis("method").reset_index()


def task_table(section: pd.DataFrame, shots: int) -> pd.DataFrame:
    """Tasks x methods at one number of shots, as texts "mean ± sd", followed by the methods' costs. Methods without
    training images are always included."""
    rows = at_shots(section, shots)
    tasks = [task for task in rows["task"].unique() if task != AVERAGE]
    # A number of seeds shared by a whole column goes into its title.
    usual = rows.groupby("method")["n"].agg(lambda n: n.mode().max())
    table = cells_table(rows.assign(usual=rows["method"].map(usual)), "task", "method").reindex([*tasks, AVERAGE])
    costs = cost_columns(rows[rows["task"] == AVERAGE].set_index("method").loc[table.columns])
    table = pd.concat([table, costs[["training", "memory"]].T])
    others = {method: f"{method} (n={n})" for method, n in usual.items() if n != usual_n(section)}
    return table.rename(columns=others).rename_axis("task").reset_index()


def usual_n(section: pd.DataFrame) -> int:
    """The most frequent number of seeds, and of several the greatest."""
    return int(section["n"].mode().max())


def cells_table(rows: pd.DataFrame, index: str, columns: str) -> pd.DataFrame:
    """A table of texts from rows with mean, sd, n, and the usual n in the column "usual"."""
    cells = rows.assign(cell=[cell(*row) for row in rows[["mean", "sd", "n", "usual"]].itertuples(index=False)])
    table = cells.pivot(index=index, columns=columns, values="cell").fillna(MISSING)
    return table.reindex(index=rows[index].unique(), columns=rows[columns].unique())


def csv(summary: pd.DataFrame) -> str:
    """The summary as CSV for spreadsheets, with the long column "tested" last."""
    order = sorted(summary.columns, key=lambda name: name == "tested")
    table = summary[order]
    texts = {name: table[name].map(spreadsheet) for name in table.select_dtypes(exclude="number")}
    return table.assign(**texts).to_csv(index=False, lineterminator="\n")
