"""The pictures of a report: the ranking of all methods at each number of shots, and the curves of every task.

Bars and intervals always show the mean and sample standard deviation over seeds.
"""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .base_to_new import SETTING
from .curves import draw_curves, light_grid
from .styles import DARK_GREY, Highlights, colors, highlights
from .tables import AVERAGE, at_shots, sections, shots_in, zero_shot_methods
from .texts import section_title, shots_name, wrapped

MOST_SECTIONS = 4  # sections beyond are not drawn
RANKING = (3.9, 0.235)  # inches: width of a panel, and height of a method in it
RANKINGS_IN_A_ROW = 3
PANEL = (2.1, 1.9)  # inches: width and height of a task
COLUMNS = 4  # tasks side by side, at most
LINE = 110  # characters of a title or a caption


@dataclass(frozen=True)
class Ranking:
    """A panel: methods (rows with method, mean and sd) sorted by their mean, as dots or bars. The dots of untrained
    methods are hollow."""

    title: str
    rows: pd.DataFrame
    untrained: Sequence[str]
    bars: bool = False


def accuracy_figure(summary: pd.DataFrame) -> Figure:
    """The main picture: all methods of each section, the best on top, in a panel per number of shots, or as bars if
    there is one number. At most MOST_SECTIONS sections are drawn."""
    return _rankings_figure([(section_title(name), rankings(section), section) for name, section in sections(summary)])


def rankings(section: pd.DataFrame) -> list[Ranking]:
    """A section's panels, one per number of shots, each with the untrained methods."""
    average = section[section["task"] == AVERAGE].dropna(subset="mean")
    untrained, shots = zero_shot_methods(section), shots_in(average)
    if len(shots) == 1:
        return [Ranking(f"{AVERAGE}, {shots_name(shots[0])}", at_shots(average, shots[0]), untrained, bars=True)]
    return [Ranking(shots_name(value), at_shots(average, value), untrained) for value in shots]


def halves_figure(summary: pd.DataFrame, halves: str) -> Figure:
    """Base, new and H of each method, the best on top, from a `base_to_new_summary`: a row of panels per section and
    number of shots."""
    average = summary[(summary["task"] == AVERAGE) & summary["mean"].notna()]
    titles = {"base": f"base {halves}", "new": f"new {halves}", "H": "harmonic mean H"}
    blocks = []
    for name, rows in sections(average, SETTING):
        untrained = zero_shot_methods(rows)
        for shots in shots_in(rows):
            shown = at_shots(rows, shots)
            panels = [Ranking(title, shown[shown["measure"] == key], untrained) for key, title in titles.items()]
            title = f"{section_title(name)}: trained on base {halves}, {shots_name(shots)}"
            blocks.append((title, panels, shown[shown["measure"] == "H"]))
    return _rankings_figure(blocks)


def _rankings_figure(blocks: Sequence[tuple[str, Sequence[Ranking], pd.DataFrame]]) -> Figure:
    """A block of panels under each other for each (title, panels, rows of the summary)."""
    blocks = blocks[:MOST_SECTIONS]
    limits = _limits(panel.rows for _, panels, _ in blocks for panel in panels)
    columns = max([2, *(min(len(panels), RANKINGS_IN_A_ROW) for _, panels, _ in blocks)])
    heights = [_ranking_height(panels) for _, panels, _ in blocks]
    figure, subfigures = _figure([title for title, *_ in blocks], heights, RANKING[0] * columns)
    for subfigure, (_, panels, rows) in zip(subfigures, blocks):
        draw_rankings(subfigure, panels, rows, limits[rows["dataset"].iloc[0]])
    return figure


def _limits(parts: Iterable[pd.DataFrame]) -> dict[str, tuple[float, float]]:
    """{data set: the least and the greatest value with its deviation}: panels of one data set are compared, so they
    have equal axes."""
    rows = pd.concat(parts)
    sd = rows["sd"].fillna(0)
    ends = rows.assign(low=rows["mean"] - sd, high=rows["mean"] + sd).groupby("dataset")
    return {name: (float(own["low"].min()), float(own["high"].max())) for name, own in ends}


def tasks_figure(summary: pd.DataFrame) -> Figure:
    """The average over tasks, large, beside every task, small, for each section: curves over shots, or bars if there is
    one number of shots."""
    parts = sections(summary)[:MOST_SECTIONS]
    plans = [_task_grid(section) for _, section in parts]
    limits = _limits(section for _, section in parts)
    titles = [section_title(name) for name, _ in parts]
    figure, subfigures = _figure(titles, [height for *_, height in plans], PANEL[0] * (COLUMNS + 3))
    for subfigure, (_, section), (rows, columns, _) in zip(subfigures, parts, plans):
        stressed = highlights(section)
        shown = colors(section, stressed)
        tasks = [task for task in section["task"].unique() if task != AVERAGE]
        several = len(rankings(section)) > 1
        section = section if several else at_shots(section, section["shots"].max())
        order = list(section[section["task"] == AVERAGE].sort_values("mean", kind="stable")["method"])
        single = len(tasks) == 1
        low, high = limits[section["dataset"].iloc[0]]
        margin = 0.05 * (high - low or 1)
        if several:
            _caption(subfigure, zero_shot_methods(section))
        grid = subfigure.add_gridspec(rows, 3 + columns)
        for i, task in enumerate([AVERAGE] if single else [AVERAGE, *tasks]):
            place = grid[:, : 3 + columns * single] if not i else grid[(i - 1) // columns, 3 + (i - 1) % columns]
            axes = subfigure.add_subplot(place)
            own = section[section["task"] == task]
            if several:
                draw_curves(axes, own, shown, stressed, not i, (max(0, low - margin), min(100, high + margin)))
            else:
                draw_bars(axes, own.set_index("method").reindex(order).reset_index(), shown, named=not i)
            axes.set_title(tasks[0] if single else wrapped(task, 26), fontsize=9 if i else 10)
            axes.tick_params(labelsize=9 if not i else 8)
            if not i:
                axes.set_ylabel(axis_title(section) if several else "")
                axes.set_xlabel("training images per class" if several else axis_title(section))
    return figure


def _task_grid(section: pd.DataFrame) -> tuple[int, int, float]:
    """Rows and columns of small panels, and the height of the section in inches."""
    tasks = section["task"].nunique() - 1
    rows = max(2, math.ceil(tasks / COLUMNS))
    bars = len(rankings(section)) == 1
    height = 0.16 * _lines(section["method"]) * section["method"].nunique() + 0.5
    height = max(PANEL[1], height) if bars else PANEL[1]
    return rows, max(1, math.ceil(tasks / rows)), height * rows + 0.4


def _caption(subfigure: Figure, dashed: Sequence[str], why: str = "") -> None:
    """A line below a block: the methods that dashed lines mark, and `why`."""
    words = f"Dashed: {', '.join(dashed)}, without training." if dashed else ""
    if words or why:
        subfigure.supxlabel(textwrap.fill(f"{words} {why}".strip(), LINE), fontsize=8, color=DARK_GREY)


def draw_rankings(
    subfigure: Figure, panels: Sequence[Ranking], section: pd.DataFrame, limits: tuple[float, float]
) -> None:
    """The panels of one block, all with the same range of values, that of `limits`."""
    stressed = highlights(section)
    shown = colors(section, stressed)
    columns = min(len(panels), RANKINGS_IN_A_ROW)
    grid = subfigure.add_gridspec(math.ceil(len(panels) / columns), columns)
    low, high = limits
    for i, panel in enumerate(panels):
        axes = subfigure.add_subplot(grid[i // columns, i % columns])
        draw_ranking(axes, panel, shown, stressed)
        margin = 0.06 * (high - low or 1)
        axes.set_xlim(0 if panel.bars else max(0, low - margin), min(100, high + margin) + 0.14 * (high - low or 1))
        axes.set_title(panel.title, fontsize=10)
        axes.set_xlabel(axis_title(section), fontsize=8)
    _caption(subfigure, [name for panel in panels[:1] for name in panel.untrained[:1]], stressed.why)


def draw_ranking(axes: Axes, panel: Ranking, shown: Mapping[str, str], stressed: Highlights) -> None:
    """Methods from the best down, with the mean as a number and an interval. A dashed line marks zero-shot."""
    rows = panel.rows.sort_values("mean", kind="stable")
    names, mean, sd = list(rows["method"]), rows["mean"].to_numpy(), rows["sd"].to_numpy()
    places = np.arange(len(rows))
    shades = [shown.get(name, DARK_GREY) for name in names]
    for value in rows.loc[rows["method"].isin(panel.untrained[:1]), "mean"]:
        axes.axvline(value, color=DARK_GREY, linestyle=(0, (4, 3)), linewidth=0.8, zorder=0)
    if panel.bars:
        axes.barh(places, mean, color=shades, height=0.7)
        axes.errorbar(mean, places, xerr=sd, fmt="none", ecolor="#333333", elinewidth=0.9, capsize=2)
    else:
        axes.hlines(places, mean - sd, mean + sd, colors=shades, linewidth=2.2)
        fills = ["white" if name in panel.untrained else shade for name, shade in zip(names, shades)]
        axes.scatter(mean, places, s=30, color=fills, edgecolors=shades, zorder=3)
    for place, value, spread in zip(places, mean, np.nan_to_num(sd)):
        text = axes.annotate(f"{value:.1f}", (value + spread, place), (5, 0), textcoords="offset points", va="center")
        text.set(fontsize=7.5, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6}, zorder=2.5)
    axes.set_yticks(places, list(map(wrapped, names)), fontsize=8)
    for label, name, shade in zip(axes.get_yticklabels(), names, shades):
        if name in stressed:
            label.set(color=shade, fontweight="bold")
    axes.set_ylim(-0.7, len(rows) - 0.3)
    _plain(axes)


def draw_bars(axes: Axes, rows: pd.DataFrame, shown: Mapping[str, str], named: bool) -> None:
    """A bar per method, from the bottom up in the order of the rows."""
    places = np.arange(len(rows))
    axes.barh(places, rows["mean"].fillna(0), color=[shown[name] for name in rows["method"]], height=0.72)
    axes.errorbar(rows["mean"], places, xerr=rows["sd"], fmt="none", ecolor="#333333", elinewidth=0.8)
    axes.set_yticks(places, list(map(wrapped, rows["method"])) if named else [""] * len(rows))
    axes.set_xlim(0, 100)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    _plain(axes)


def _plain(axes: Axes) -> None:
    light_grid(axes, "x", nbins=5)
    axes.tick_params(axis="x", labelsize=8)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def axis_title(section: pd.DataFrame) -> str:
    """What the values are, and their intervals, where there are several seeds."""
    plain = (section["metric"] != "mean_per_class").all() if "metric" in section else True
    spread = ", ± s.d. over seeds" if (section["n"] > 1).any() else ""
    return f"{'accuracy' if plain else 'accuracy or mean recall'} (%){spread}"


def _ranking_height(panels: Sequence[Ranking]) -> float:
    rows = math.ceil(len(panels) / RANKINGS_IN_A_ROW)
    lines = max(_lines(panel.rows["method"]) for panel in panels)
    return rows * (RANKING[1] * (1 + lines) / 2 * max(len(panel.rows) for panel in panels) + 0.85) + 0.55


def _lines(names: Iterable[str]) -> int:
    """The most lines of a name's label."""
    return max((wrapped(name).count("\n") + 1 for name in names), default=1)


def _figure(titles: Sequence[str], heights: Sequence[float], width: float) -> tuple[Figure, list]:
    """A figure with a subfigure per title, one below the other; heights and width in inches."""
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    subfigures = list(figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0])
    for subfigure, title in zip(subfigures, titles):
        subfigure.suptitle(textwrap.fill(title, LINE), fontsize=11, fontweight="bold")
    return figure, subfigures
