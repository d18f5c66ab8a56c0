"""Base-to-new results: accuracy on the classes, or tasks, that a method was trained on and on those that are new to it.

The split of a record says which half was tested, e.g. "test-base-classes" or "test-new-tasks". The harmonic mean H = 2
base new / (base + new) is that of CoCoOp's protocol (Zhou et al., CVPR 2022, arXiv 2203.05557). For the average over
tasks, it is the harmonic mean of the two averages.
"""

from collections.abc import Iterable, Mapping

import pandas as pd

from softcpt.files.texts import markdown_text

from ..sweeps import HALVES
from .tables import AVERAGE, COSTS, cells_table, over_seeds, results_frame, sections, usual_n, zero_shot_methods
from .texts import cost_columns, cost_note, markdown, section_title, shots_name

MEASURES = ("base", "new", "H")
SETTING = ["dataset", "backbone", "split"]  # identifies a section


def base_to_new(records: Iterable[Mapping], halves: str = "classes") -> pd.DataFrame:
    """One row per run and task with the columns base, new and H, in percent; NaN where a half was not evaluated.

    The other columns are dataset, backbone, split (without the half), method, shots, seed, task, and COSTS of the run
    on the base half. Records of other splits are left out. On halves of the tasks, each task has either a base or a new
    value; the row AVERAGE has both.

    Raises ValueError if `halves` is not "classes" or "tasks", or if two records are of the same run.
    """
    if halves not in HALVES:
        raise ValueError(f"halves is {halves!r}, use one of {', '.join(HALVES)}")
    keys = [*SETTING, "method", "shots", "seed", "task"]
    frame = results_frame(records)
    if frame.empty:
        return pd.DataFrame(columns=[*keys, *MEASURES, *COSTS])
    frame = frame.assign(**split_and_half(frame["split"], halves)).dropna(subset="half")
    values = frame.pivot(index=keys, columns="half", values="value").reindex(columns=["base", "new"])
    wide = frame[keys].drop_duplicates().join(values, on=keys).reset_index(drop=True)
    trained = frame[frame["half"] == "base"].drop_duplicates(keys[:-1])
    wide = wide.merge(trained[[*keys[:-1], *COSTS]], "left", keys[:-1]).fillna({"device": ""})
    total = wide["base"] + wide["new"]
    return wide.assign(H=(2 * wide["base"] * wide["new"] / total.where(total > 0, 1)).astype(float))


def split_and_half(splits: pd.Series, halves: str) -> pd.DataFrame:
    """Of the splits of records: the columns split, without the half of the `halves`, and half: base, new or NaN."""
    before = "(?:-(?:base|new)-classes)?" if halves == "tasks" else ""
    pattern = rf"^(?P<part>[a-z]+{before})-(?P<half>base|new)-{halves}"
    half = splits.str.extract(pattern)["half"]
    return pd.DataFrame({"split": splits.str.replace(pattern, r"\g<part>", regex=True), "half": half})


def base_to_new_summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean, sd (sample) and n of each measure over the seeds, and costs as in `summarise`: one row per section, method,
    shots, task and measure."""
    names = [*SETTING, "method", "shots", "task"]
    long = frame.melt([*names, "seed", *COSTS], MEASURES, "measure", "value")
    return over_seeds(long.groupby([*names, "measure"], sort=False))


def base_to_new_report(records: Iterable[Mapping], halves: str = "classes", shots: int | None = None) -> str:
    """Tables in Markdown: methods x (base, new, H) of the average over tasks, then tasks x methods for each measure.

    With `shots`, only runs at that number and methods without training images. Raises ValueError if there is no such
    run.
    """
    frame = base_to_new(records, halves)
    if shots is not None:
        frame = frame[frame["shots"].isin([0, shots])]
    if frame.empty:
        raise ValueError(f"no run on base or new {halves}" + ("" if shots is None else f" with {shots} shots"))
    frame = frame.sort_values("shots", kind="stable")  # methods without training images first
    return "\n\n".join(
        line for name, rows in sections(base_to_new_summary(frame), SETTING) for line in _section(name, rows, halves)
    )


def _section(names: dict[str, str], rows: pd.DataFrame, halves: str) -> list[str]:
    untrained = rows["method"].isin(zero_shot_methods(rows))
    if rows.loc[~untrained, "shots"].nunique() > 1:
        shots = ", " + rows["shots"].map(shots_name)
        rows = rows.assign(method=rows["method"] + shots.where(~untrained, ""))
    n = usual_n(rows[rows["n"] > 0])
    rows = rows.assign(usual=untrained.map({True: 1, False: n}))  # a method that learns nothing needs one run
    average = rows[rows["task"] == AVERAGE]
    spread = f"mean ± sample standard deviation over {n} seeds" if n > 1 else "one run each"
    table = cells_table(average, "method", "measure")
    costs = average.drop_duplicates("method").set_index("method").loc[table.index]
    lines = [
        f"## {markdown_text(section_title(names))}: base and new {halves}",
        f"Percent, {spread} unless stated otherwise; trained on the base {halves} alone. H is the harmonic mean of a "
        "run's base and new values.",
        f"### {AVERAGE.capitalize()}",
        markdown(table.join(cost_columns(costs)).rename_axis("method").reset_index()),
        "Costs are those of a method's runs on the base half. " + cost_note(costs["device"]),
    ]
    tasks = rows[(rows["task"] != AVERAGE) & (rows["n"] > 0)]
    for measure in MEASURES:
        values = tasks[tasks["measure"] == measure]
        if not values.empty and rows["task"].nunique() > 2:
            heading = "H of each task" if measure == "H" else f"{measure.capitalize()} {halves} of each task"
            lines += [f"### {heading if halves == 'classes' else f'{measure.capitalize()} tasks'}"]
            lines += [markdown(cells_table(values, "task", "method").rename_axis("task").reset_index())]
    return lines
