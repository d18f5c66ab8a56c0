"""What a report says of a section, as tables of texts; Markdown, LaTeX and HTML are only ways to write them down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from .joint import Pair, joint_sections
from .statistics import against_all, at_each_shots, comparison_note, comparison_table, values_of
from .styles import highlights
from .tables import (
    AVERAGE,
    MISSING,
    cost_note,
    markdown,
    section_title,
    shots_name,
    shots_order,
    shots_table,
    task_table,
    usual_n,
    zero_shot_methods,
)

BEST, SECOND = "best", "second"
COST_ROWS = 2  # of a table of tasks: training and memory


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        table: the first column names the rows. note: what is to be known about it.
        marks: of the same shape but for the first column: BEST, SECOND or "".
        foot: rows at the end that are not sorted with the others: the average and costs.
        turned: its columns are methods, which in LaTeX, where a page is narrow, become the rows.
    """

    heading: str
    table: pd.DataFrame
    note: str = ""
    marks: pd.DataFrame | None = None
    foot: int = 0
    turned: bool = False


@dataclass(frozen=True)
class Section:
    """A section of a report: its names, summary and runs (rows of `summarise` and `results_frame`), and its tables."""

    name: Mapping[str, str]
    summary: pd.DataFrame
    frame: pd.DataFrame
    intro: str
    tables: Sequence[Table] = field(default_factory=list)

    @property
    def title(self) -> str:
        return section_title(self.name)


def section_of(
    name: Mapping[str, str],
    summary: pd.DataFrame,
    frame: pd.DataFrame,
    compared: Sequence[Sequence[str]] = (),
    joint: Sequence[Pair] = (),
    more: Sequence[Table] = (),
) -> Section:
    """A section with its tables: the average, `more`, the tasks, the tests, and joint against separate training.

    Args:
        compared: pairs (A, B) of methods to test; none: SoftCPT, or the best method, against all others.
    """
    n = usual_n(summary)
    spread = f"Percent, mean ± sample standard deviation over {n} seeds" if n > 1 else "Percent, one run each"
    tables = [average_table(summary), *more]
    shots = sorted(set(summary["shots"]) - {0}, key=shots_order) or [0]
    if summary["task"].nunique() > 2:
        tables += [tasks_table(summary, value) for value in shots]
    tables += comparison_tables(summary, frame, compared)
    tables += [Table(heading, table, note) for heading, table, note in joint_sections(frame, joint)]
    return Section(
        name, summary, frame, f"{spread} unless said otherwise. Tasks (test images): {name['tested']}.", tables
    )


def average_table(summary: pd.DataFrame) -> Table:
    """Methods x shots, with the costs."""
    table = shots_table(summary)
    average = summary[(summary["task"] == AVERAGE) & (summary["shots"] != 0)]
    means = average.assign(shots=average["shots"].map(shots_name)).pivot(index="method", columns="shots", values="mean")
    marks = (
        best_two(means).reindex(index=table["method"], columns=table.columns[1:], fill_value="").reset_index(drop=True)
    )
    costs = "What a method costs is that of its runs at the most shots. " + cost_note(summary["device"])
    return Table(AVERAGE.capitalize(), table, costs, marks.reset_index(drop=True))


def tasks_table(summary: pd.DataFrame, shots: int) -> Table:
    """Tasks x methods at one number of shots."""
    table = task_table(summary, shots)
    rows = summary[(summary["shots"] == shots) | summary["method"].isin(zero_shot_methods(summary))]
    means = rows.pivot(index="method", columns="task", values="mean")
    marks = (
        best_two(means.reindex(rows["method"].unique())).T.reindex(table["task"], fill_value="").reset_index(drop=True)
    )
    marks.columns = table.columns[1:]
    return Table(f"Tasks, {shots_name(shots)}", table, "", marks.reset_index(drop=True), COST_ROWS + 1, turned=True)


def best_two(means: pd.DataFrame) -> pd.DataFrame:
    """Of methods x columns: BEST and SECOND in each column, by the values as they are printed; none in one of less than
    three methods."""
    printed = means.round(1)
    places = printed.rank(ascending=False, method="min")
    marks = pd.DataFrame("", index=means.index, columns=means.columns)
    for column in means:
        values = sorted(set(printed[column].dropna()), reverse=True)
        if printed[column].notna().sum() >= 3 and len(values) > 1:
            marks.loc[printed[column] == values[0], column] = BEST
            if (places[column] == 1).sum() == 1:
                marks.loc[printed[column] == values[1], column] = SECOND
    return marks


def comparison_tables(
    summary: pd.DataFrame, frame: pd.DataFrame, compared: Sequence[Sequence[str]] = ()
) -> list[Table]:
    """The paired tests of a section; pairs of which a method is not in the section are left out."""
    tables, values = [], values_of(frame)
    for a, b in compared:
        if {a, b} <= set(frame["method"]):
            found = at_each_shots(values, a, b)
            if found:
                tables.append(Table(f"Does {a} beat {b}?", comparison_table(found), comparison_note(found)))
    if not compared:
        hero = highlights(summary).hero
        found = against_all(values, hero) if hero else []
        if found:
            heading = f"Does {hero} beat the others?"
            tables.append(Table(heading, comparison_table(found), comparison_note(found)))
    return tables


def gains(section: Section) -> list[tuple[str, pd.DataFrame]]:
    """Points gained over zero-shot, methods x tasks and average, at each number of shots; [] without zero-shot."""
    rows = section.summary
    untrained = zero_shot_methods(rows)
    if not untrained:
        return []
    base = rows[rows["method"] == untrained[0]].set_index("task")["mean"]
    tables = []
    for shots in sorted(set(rows["shots"]) - {0}, key=shots_order):
        own = rows[(rows["shots"] == shots) & ~rows["method"].isin(untrained)]
        wide = own.pivot(index="method", columns="task", values="mean")
        wide = wide.reindex(index=own["method"].unique(), columns=own["task"].unique())
        tables.append((f"Points over {untrained[0]}, {shots_name(shots)}", wide - base.reindex(wide.columns)))
    return tables


def markdown_of(section: Section) -> str:
    """A section in Markdown."""
    parts = [f"## {section.title}", section.intro]
    for table in section.tables:
        parts += [f"### {table.heading}", markdown(table.table) if len(table.table) else "", table.note]
    return "\n\n".join(filter(None, parts))


def signed(value: float) -> str:
    return MISSING if pd.isna(value) else f"{value:+.1f}"
