"""Accuracy over shots: a few methods in strong colours, with their names at the ends of the lines."""

from collections.abc import Mapping
from typing import Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from .styles import GREY, Highlights
from .tables import zero_shot_methods
from .texts import shots_name, wrapped

GAP = 0.045  # a line of a label, of the axes' height
NAME_WIDTH = 24  # characters


def draw_curves(
    axes: Axes,
    rows: pd.DataFrame,
    shown: Mapping[str, str],
    stressed: Highlights,
    labels: bool = False,
    limits: tuple[float, float] | None = None,
) -> None:
    """One line per method with error bars (sample standard deviation), where there are several seeds; a dashed
    horizontal line for an untrained one.

    Args:
        rows: the summary's rows of one task, or of the average.
        shown: {method: colour}, see `styles.colors`.
        labels: write the names of the coloured methods at the ends of their lines.
        limits: of the values, equal in panels that are compared.
    """
    rows = rows[rows["mean"].notna()]
    untrained = zero_shot_methods(rows)
    shots = sorted(rows["shots"][rows["shots"] > 0].unique()) or [1]
    beyond = 2 * shots[-1]  # the place of runs on all images (-1 shots)
    ends = []
    # The highlighted methods come last, so that they lie above the others.
    for name in sorted(rows["method"].unique(), key=lambda name: (name in stressed, name == stressed.hero)):
        own = rows[rows["method"] == name]
        color, strong = shown[name], name in stressed or shown[name] != GREY
        if name in untrained:
            axes.axhline(own["mean"].iloc[0], color=color, linestyle=(0, (4, 3)), linewidth=1, zorder=1.5, label=name)
            ends.append((own["mean"].iloc[0], name, color))
            continue
        points = own[own["shots"] != 0].assign(x=own["shots"].where(own["shots"] > 0, beyond)).sort_values("x")
        wide = 2.2 if name in stressed else 1.5 if strong else 0.9
        spread = points["sd"] if strong and points["sd"].notna().any() else None
        axes.errorbar(
            points["x"],
            points["mean"],
            spread,
            capsize=2 if strong else 0,
            zorder=3 if strong else 2,
            color=color,
            linewidth=wide,
            marker="o",
            markersize=2 + wide,
            label=name,
        )
        if strong:
            ends.append((points["mean"].iloc[-1], name, color))
    ticks = shots + ([beyond] if (rows["shots"] < 0).any() else [])
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(value) for value in shots] + [shots_name(-1)] * (len(ticks) - len(shots)))
    axes.set_xlim(ticks[0] / 1.35, ticks[-1] * 1.35)
    axes.set_ylim(limits)
    axes.minorticks_off()
    light_grid(axes, "y", nbins=6)
    if labels:
        _name_ends(axes, ends, stressed)


def light_grid(axes: Axes, along: Literal["x", "y"], nbins: int) -> None:
    """Light grid lines at about `nbins` round values of the x or y axis, and no frame at the top and right."""
    getattr(axes, f"{along}axis").set_major_locator(MaxNLocator(nbins=nbins, steps=[1, 2, 5, 10]))
    axes.grid(axis=along, color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _name_ends(axes: Axes, ends: list[tuple[float, str, str]], stressed: Highlights) -> None:
    """Write names at the right, at the heights of the lines' ends, moved up where they would overlap."""
    low, high = axes.get_ylim()
    previous = float("-inf")
    for value, name, color in sorted(ends):
        text = wrapped(name, NAME_WIDTH)
        half = GAP * (text.count("\n") + 1) / 2
        height = max((value - low) / (high - low), previous + half)
        previous = height + half
        weight = "bold" if name in stressed else "normal"
        axes.annotate(
            text, (1.01, height), xycoords="axes fraction", va="center", fontsize=8, color=color, fontweight=weight
        )
