"""Matrices of tasks as pictures: similarities in the order of a dendrogram, and changes of accuracy."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

CELL = 0.62  # inches
WIDEST = 24  # characters per line of a task's name
NUMBERS = 25  # a matrix with more rows has no numbers in its cells
SIMILARITY, CHANGE = "viridis", "PuOr"  # both safe for colour-blind readers


def ordered(similarity: np.ndarray) -> tuple[list[int], np.ndarray | None]:
    """An order of the rows that puts similar ones together, and its tree as SciPy's `linkage` returns it (None for
    fewer than two rows).

    Average linkage of 1 - similarity (N, N), with branches turned so that neighbours are similar. Of an order and its
    mirror image, the one whose first row has the smaller index is taken, so it depends on the values alone.
    """
    n = len(similarity)
    if n < 2:
        return list(range(n)), None
    distance = np.clip(1 - (similarity + similarity.T) / 2, 0, None)
    np.fill_diagonal(distance, 0)
    condensed = squareform(distance, checks=False)
    tree = hierarchy.linkage(condensed, "average", optimal_ordering=True)
    order = hierarchy.leaves_list(tree).tolist()
    if order[0] > order[-1]:
        tree[:, :2] = tree[:, 1::-1].copy()  # the mirror image
        order = hierarchy.leaves_list(tree).tolist()
    return order, tree


def similarity_figure(similarity: np.ndarray, names: Sequence[str], title: str) -> Figure:
    """A dendrogram of 1 - similarity (N, N), and below it the matrix in the same order."""
    order, tree = ordered(similarity)
    n, size = len(names), max(3.0, CELL * len(names))
    figure = Figure(figsize=(size + 3.4, size + 3.4), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=[1, max(3.0, size)], width_ratios=[max(3.0, size), 0.15])
    main = figure.add_subplot(grid[1, 0])
    if tree is not None:
        _draw_tree(figure.add_subplot(grid[0, 0]), tree, n)
    values = similarity[np.ix_(order, order)]
    off = values[~np.eye(n, dtype=bool)]
    low, high = (float(off.min()), float(off.max())) if n > 1 else (0.0, 1.0)
    if high - low < 1e-6:
        low, high = low - 0.5, high + 0.5
    shown = np.where(np.eye(n, dtype=bool), np.nan, values) if n > 1 else values
    image = main.imshow(shown, cmap=SIMILARITY, vmin=low, vmax=high, aspect="auto")
    labels = [names[i] for i in order]
    _label(main, labels, labels)
    _write_numbers(main, values, "{:.2f}", lambda value: (value - low) / (high - low) < 0.5)
    figure.colorbar(image, cax=figure.add_subplot(grid[1, 1]), label="cosine similarity")
    figure.suptitle(title, fontsize=11, fontweight="bold")
    return figure


def _draw_tree(axes: Axes, tree: np.ndarray, n: int) -> None:
    hierarchy.dendrogram(tree, ax=axes, color_threshold=0, above_threshold_color="#555555", no_labels=True)
    axes.set_xlim(0, 10 * n)  # a leaf every 10, at 5, 15, ..., above the columns of the matrix
    axes.set_ylabel("1 - cosine", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def change_figure(change: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str) -> Figure:
    """Changes in points (R, C), NaN for none: task left out x task tested, brown for worse."""
    width, height = (max(3.0, CELL * len(names)) for names in (columns, rows))
    figure = Figure(figsize=(width + 3.6, height + 2.6), layout="constrained")
    axes = figure.subplots()
    largest = float(np.nanmax(np.abs(change), initial=0)) or 1.0
    image = axes.imshow(change, cmap=CHANGE, vmin=-largest, vmax=largest, aspect="auto")
    _label(axes, rows, columns)
    axes.set_ylabel("left out of training")
    axes.set_xlabel("tested")
    _write_numbers(axes, change, "{:+.1f}", lambda value: abs(value) > 0.6 * largest)
    figure.colorbar(image, ax=axes, shrink=0.8, label="change of the metric, in points")
    figure.suptitle(title, fontsize=11, fontweight="bold")
    return figure


def _label(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    axes.set_xticks(range(len(columns)), [textwrap.fill(name, WIDEST) for name in columns], rotation=45, ha="right")
    axes.set_yticks(range(len(rows)), [textwrap.fill(name, WIDEST) for name in rows])
    axes.tick_params(labelsize=8, length=0)
    axes.spines[:].set_visible(False)


def _write_numbers(axes: Axes, values: np.ndarray, form: str, is_dark) -> None:
    if len(values) > NUMBERS:
        return
    for i, j in np.argwhere(np.isfinite(values)):
        colour = "white" if is_dark(values[i, j]) else "black"
        axes.text(j, i, form.format(values[i, j]), ha="center", va="center", fontsize=8, color=colour)
