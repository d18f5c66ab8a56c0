"""The sections of a report as tables of texts, to be written as Markdown, LaTeX or HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from softcpt.files.texts import markdown_text

from .joint_training import Pair, joint_sections
from .statistics import against_all, at_each_shots, comparison_note, comparison_table, values_of
from .styles import highlights
from .tables import AVERAGE, at_shots, shots_in, shots_table, task_table, usual_n, zero_shot_methods
from .texts import MISSING, cost_note, markdown, section_title, shots_name

BEST, SECOND = "best", "second"
COST_ROWS = 2  # rows of a table of tasks: training and memory


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        table: the first column names the rows.
        note: a text below the table.
        marks: BEST, SECOND or "" for each cell outside the first column.
        foot: number of last rows that stay in place when the page sorts the others: the average and costs.
        turned: the methods are in the columns. LaTeX, whose pages are narrow, turns them into rows.
    """

    heading: str
    table: pd.DataFrame
    note: str = ""
    marks: pd.DataFrame | None = None
    foot: int = 0
    turned: bool = False


@dataclass(frozen=True)
class Section:
    """A section of a report: its names, its summary (rows of `summarise`) and its tables."""

    name: Mapping[str, str]
    summary: pd.DataFrame
    intro: str
    tables: Sequence[Table] = field(default_factory=list)

    @property
    def title(self) -> str:
        return section_title(self.name)


def section_of(
    name: Mapping[str, str],
    summary: pd.DataFrame,
    frame: pd.DataFrame,
    compared: Sequence[Sequence[str]],
    joint: Sequence[Pair],
    more: Sequence[Table],
) -> Section:
    """A section with its tables: the average, `more`, the tasks, the tests, and joint against separate training.

    Args:
        frame: the section's rows of `results_frame`.
        compared: pairs (A, B) of methods to test; by default SoftCPT, or the best method, against all others.
    """
    n = usual_n(summary)
    spread = f"Percent, mean ± sample standard deviation over {n} seeds" if n > 1 else "Percent, one run each"
    tables = [average_table(summary), *more]
    if summary["task"].nunique() > 2:
        tables += [tasks_table(summary, shots) for shots in shots_in(summary)]
    tables += comparison_tables(summary, frame, compared)
    tables += [Table(heading, table, note) for heading, table, note in joint_sections(frame, joint)]
    intro = f"{spread} unless stated otherwise. Tasks (test images): {name['tested']}."
    return Section(name, summary, intro, tables)


def average_table(summary: pd.DataFrame) -> Table:
    """Methods x shots, with costs."""
    table = shots_table(summary)
    average = summary[(summary["task"] == AVERAGE) & (summary["shots"] != 0)]
    means = average.assign(shots=average["shots"].map(shots_name)).pivot(index="method", columns="shots", values="mean")
    marks = best_two(means).reindex(index=table["method"], columns=table.columns[1:], fill_value="")
    costs = "Costs are those of a method's runs at the most shots. " + cost_note(summary["device"])
    return Table(AVERAGE.capitalize(), table, costs, marks.reset_index(drop=True))


def tasks_table(summary: pd.DataFrame, shots: int) -> Table:
    """Tasks x methods at one number of shots."""
    table = task_table(summary, shots)
    rows = at_shots(summary, shots)
    means = rows.pivot(index="method", columns="task", values="mean").reindex(rows["method"].unique())
    marks = best_two(means).T.reindex(table["task"], fill_value="")
    marks.columns = table.columns[1:]
    return Table(f"Tasks, {shots_name(shots)}", table, "", marks.reset_index(drop=True), COST_ROWS + 1, turned=True)


def best_two(means: pd.DataFrame) -> pd.DataFrame:
    """BEST and SECOND in each column, by the printed values; none in a column with fewer than three values."""
    places = means.round(1).rank(ascending=False, method="min")
    ranked = (means.count() >= 3) & (places.max() > 1)  # columns
    marks = pd.DataFrame("", index=means.index, columns=means.columns)
    return marks.mask((places == 1) & ranked, BEST).mask((places == 2) & ranked, SECOND)


def comparison_tables(summary: pd.DataFrame, frame: pd.DataFrame, compared: Sequence[Sequence[str]]) -> list[Table]:
    """The paired tests of a section, for the pairs whose two methods it has."""
    values, there = values_of(frame), set(frame["method"])
    found = {f"Does {a} beat {b}?": at_each_shots(values, a, b) for a, b in compared if {a, b} <= there}
    hero = "" if compared else highlights(summary).hero
    if hero:
        found[f"Does {hero} beat the others?"] = against_all(values, hero)
    return [Table(key, comparison_table(tests), comparison_note(tests)) for key, tests in found.items() if tests]


def gains(section: Section) -> list[tuple[str, pd.DataFrame]]:
    """Points gained over zero-shot, methods x tasks and average, at each number of shots; [] without zero-shot."""
    rows = section.summary
    untrained = zero_shot_methods(rows)
    trained = rows[~rows["method"].isin(untrained)]
    if not untrained or trained.empty:
        return []
    base = rows[rows["method"] == untrained[0]].set_index("task")["mean"]
    tables = []
    for shots in shots_in(trained):
        own = trained[trained["shots"] == shots]
        wide = own.pivot(index="method", columns="task", values="mean")
        wide = wide.reindex(index=own["method"].unique(), columns=own["task"].unique())
        tables.append((f"Points over {untrained[0]}, {shots_name(shots)}", wide - base.reindex(wide.columns)))
    return tables


def markdown_of(section: Section) -> str:
    """A section in Markdown."""
    parts = [f"## {markdown_text(section.title)}", markdown_text(section.intro)]
    for table in section.tables:
        rows = markdown(table.table) if len(table.table) else ""
        parts += [f"### {markdown_text(table.heading)}", rows, markdown_text(table.note)]
    return "\n\n".join(filter(None, parts))


def signed(value: float) -> str:
    return MISSING if pd.isna(value) else f"{value:+.1f}"
