"""The picture of a report: accuracy against shots, one line per method."""

import io
import math
import textwrap
from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from .tables import AVERAGE, section_title, sections, shots_name, zero_shot_methods

# Okabe and Ito's palette, safe for colour-blind readers, without its yellow, which is too light for lines.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vP*X"
LINES = ("solid", (0, (4, 1)), (0, (1, 1)))
DASHES = ((0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
PANEL = (2.0, 1.9)  # inches
COLUMNS = 4  # of small panels, at most; the large one is as wide and as high as two


def method_styles(summary: pd.DataFrame) -> dict[str, dict]:
    """How each method is drawn, the same in every panel: grey dashes without training, else a colour and a marker."""
    untrained = zero_shot_methods(summary)
    trained = [name for name in summary["method"].unique() if name not in untrained]
    styles = {
        name: {"color": "#555555", "linestyle": DASHES[i % len(DASHES)], "linewidth": 1.4}
        for i, name in enumerate(untrained)
    }
    for i, name in enumerate(trained):
        # More markers than colours: the eighth method differs from the first in the marker, and in the line.
        line = LINES[i // len(COLORS) % len(LINES)]
        look = {"color": COLORS[i % len(COLORS)], "marker": MARKERS[i % len(MARKERS)], "linestyle": line}
        styles[name] = {**look, "markersize": 4.5, "linewidth": 1.5}
    return styles


def accuracy_figure(summary: pd.DataFrame) -> Figure:
    """Accuracy (percent) against shots: per section the average over tasks, large, and every task, small."""
    parts = sections(summary)
    styles = method_styles(summary)
    rows = [_rows(section) for _, section in parts]
    figure = Figure(
        figsize=(PANEL[0] * (COLUMNS + 2), PANEL[1] * sum(rows) + 0.4 * len(rows) + 0.5), layout="constrained"
    )
    FigureCanvasAgg(figure)
    blocks = figure.subfigures(len(parts), 1, height_ratios=rows, squeeze=False)[:, 0]
    for block, (name, section) in zip(blocks, parts):
        block.suptitle(section_title(name), fontsize=11, fontweight="bold")
        _draw_section(block, section, styles)
    handles = {label: handle for axes in figure.axes for handle, label in zip(*axes.get_legend_handles_labels())}
    names = [name for name in styles if name in handles]
    figure.legend(
        [handles[name] for name in names], names, loc="outside lower center", ncols=min(len(names), 6), frameon=False
    )
    return figure


def _rows(section: pd.DataFrame) -> int:
    return max(2, math.ceil((section["task"].nunique() - 1) / COLUMNS))


def _draw_section(block: SubFigure, section: pd.DataFrame, styles: Mapping[str, Mapping]) -> None:
    tasks = [task for task in section["task"].unique() if task != AVERAGE]
    single = len(tasks) == 1
    n_rows = _rows(section)
    n_columns = math.ceil(len(tasks) / n_rows)
    grid = block.add_gridspec(n_rows, 6 if single else 2 + n_columns)
    large = block.add_subplot(grid[:2, 1:5] if single else grid[:2, :2])
    draw_panel(large, section[section["task"] == AVERAGE], styles)
    large.set_title(tasks[0] if single else AVERAGE, fontsize=10)
    large.set_ylabel("accuracy (%)" if (section["metric"] != "mean_per_class").all() else "accuracy or mean recall (%)")
    large.set_xlabel("training images per class")
    for i, task in enumerate([] if single else tasks):
        axes = block.add_subplot(grid[i // n_columns, 2 + i % n_columns])
        draw_panel(axes, section[section["task"] == task], styles, scale=0.75)
        axes.set_title(textwrap.fill(task, 26), fontsize=9)
        axes.tick_params(labelsize=8)


def draw_panel(axes: Axes, rows: pd.DataFrame, styles: Mapping[str, Mapping], scale: float = 1.0) -> None:
    """One line with error bars (sample standard deviation) per method; methods without training are level lines."""
    untrained = zero_shot_methods(rows)
    shots = sorted(rows["shots"][rows["shots"] > 0].unique()) or [1]
    beyond = 2 * shots[-1]  # where runs on all images (-1 shots) are drawn
    trained = [name for name in styles if name in set(rows["method"]) and name not in untrained]
    for name, style in styles.items():
        own = rows[rows["method"] == name]
        style = {**style, "linewidth": style["linewidth"] * scale, "zorder": 2 + len(own)}
        if name in untrained:
            if own["n"].iloc[0]:
                axes.axhline(own["mean"].iloc[0], label=name, **{**style, "zorder": 1})
        elif len(own):
            # Error bars side by side: shifted by a few percent of an octave, all together by less than half of one.
            shift = 2 ** (min(0.07, 0.45 / len(trained)) * (trained.index(name) - (len(trained) - 1) / 2))
            points = own[own["shots"] != 0].assign(x=own["shots"].where(own["shots"] > 0, beyond)).sort_values("x")
            style["markersize"] *= scale
            axes.errorbar(points["x"] * shift, points["mean"], points["sd"].fillna(0), capsize=2, label=name, **style)
    ticks = shots + ([beyond] if (rows["shots"] < 0).any() else [])
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(value) for value in shots] + [shots_name(-1)] * (len(ticks) - len(shots)))
    axes.set_xlim(ticks[0] / 1.35, ticks[-1] * 1.35)
    axes.minorticks_off()
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def png(figure: Figure, dpi: int = 130) -> bytes:
    """The figure as a PNG file's content; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
