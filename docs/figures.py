"""Draws docs/method.svg, the picture of the method.

    python docs/figures.py [FOLDER]

Lengths are inches, and the picture is as wide as a README shows it, so a point of text is a point on the page.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle

ROOT = Path(__file__).resolve().parents[1]
# Okabe and Ito's colours, which colour-blind readers tell apart: two tasks, and what is learned.
TASKS, LEARNED = ("#0072B2", "#D55E00"), "#009E73"
PALE = ("#CCE3F0", "#F7DFCC")
FROZEN, INK, LINE = "#E8E8E8", "#222222", "#666666"
NAMES = (("pet breed\nrecognition", ("beagle", "pug", "sphynx")), ("texture\nrecognition", ("dotted", "striped")))


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty white page, in inches."""
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    return figure, axes


def box(axes: Axes, x: float, y: float, width: float, height: float, text: str = "", **look) -> None:
    """A rounded box with its lower left corner at (x, y)."""
    look = {"facecolor": "white", "edgecolor": LINE, "linewidth": 1.2, "size": 10, "color": INK, **look}
    size, color, weight = look.pop("size"), look.pop("color"), look.pop("weight", "normal")
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.06", **look))
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", size=size, color=color, weight=weight)


def cells(axes: Axes, x: float, y: float, columns: int, rows: int, side: float, color: str) -> None:
    """A vector or a row of tokens: squares with their lower left corner at (x, y)."""
    for i in range(columns):
        for j in range(rows):
            corner = (x + i * side, y + j * side)
            axes.add_patch(Rectangle(corner, side, side, facecolor=color, edgecolor="white", linewidth=1))


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], color: str = LINE, **look) -> None:
    look = {"arrowstyle": "-|>", "mutation_scale": 11, "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0, **look}
    axes.add_patch(FancyArrowPatch(start, end, color=color, **look))


def pet(axes: Axes, x: float, y: float, color: str, pointed: bool) -> None:
    """A head with ears in a frame of 0.4 at (x, y)."""
    for side in (-1, 1):
        ear = [(0.2 + side * 0.12, 0.34), (0.2 + side * 0.02, 0.27), (0.2 + side * 0.13, 0.18)]
        if not pointed:
            ear = [(0.2 + side * 0.06, 0.31), (0.2 + side * 0.17, 0.26), (0.2 + side * 0.16, 0.1)]
        axes.add_patch(Polygon([(x + a, y + b) for a, b in ear], facecolor=color))
        axes.add_patch(Circle((x + 0.2 + side * 0.045, y + 0.2), 0.02, facecolor="white", zorder=3))
    axes.add_patch(Circle((x + 0.2, y + 0.18), 0.12, facecolor=color, zorder=2))


def texture(axes: Axes, x: float, y: float, color: str, dotted: bool) -> None:
    """Dots or stripes in a frame of 0.4 at (x, y)."""
    for i in range(3):
        if dotted:
            for j in range(3):
                axes.add_patch(Circle((x + 0.09 + 0.11 * i, y + 0.09 + 0.11 * j), 0.035, facecolor=color))
        else:
            axes.add_patch(Rectangle((x + 0.06, y + 0.06 + 0.11 * i), 0.28, 0.05, facecolor=color))


def draw_method() -> Figure:
    """Task names become contexts, contexts become class features, and each task has its own softmax."""
    figure, axes = canvas(9.2, 4.8)

    def title(x: float, y: float, text: str, **look) -> None:
        axes.text(x, y, text, ha="center", va="bottom", size=10, color=INK, linespacing=1.1, **look)

    middle = (3.72, 2.62)  # heights of the two tasks
    # Task prompts, text encoder, task features, meta network.
    title(0.8, 4.4, "task context u,\ntask names")
    for task, (name, _) in enumerate(NAMES):
        cells(axes, 0.08, middle[task] - 0.08, 4, 1, 0.16, LEARNED)
        box(axes, 0.76, middle[task] - 0.22, 0.9, 0.44, name, facecolor=PALE[task], edgecolor=TASKS[task])
        arrow(axes, (1.7, middle[task]), (1.92, middle[task]), TASKS[task])
        arrow(axes, (2.64, middle[task]), (2.86, middle[task]), TASKS[task])
        cells(axes, 2.89, middle[task] - 0.35, 1, 5, 0.14, TASKS[task])
        arrow(axes, (3.06, middle[task]), (3.28, middle[task]), TASKS[task])
        arrow(axes, (4.02, middle[task]), (4.24, middle[task]), TASKS[task])
    box(axes, 1.94, 2.15, 0.7, 2.05, "text\nencoder", facecolor=FROZEN)
    title(2.96, 4.4, "task\nfeatures")
    box(
        axes, 3.3, 2.15, 0.72, 2.05, "meta\nnetwork", facecolor=LEARNED, edgecolor=LEARNED, color="white", weight="bold"
    )

    # Class prompts: the task's context before each class name.
    title(5.02, 4.4, "task's context,\nclass names")
    for task, (_, classes) in enumerate(NAMES):
        for i, name in enumerate(classes):
            y = middle[task] + 0.34 * ((len(classes) - 1) / 2 - i)
            cells(axes, 4.3, y - 0.08, 4, 1, 0.16, TASKS[task])
            box(axes, 4.98, y - 0.13, 0.76, 0.26, name, facecolor=PALE[task], edgecolor=TASKS[task])
        arrow(axes, (5.79, middle[task]), (6.01, middle[task]), TASKS[task])
    box(axes, 6.03, 2.15, 0.7, 2.05, "text\nencoder", facecolor=FROZEN)
    arrow(axes, (6.73, 3.17), (7.0, 3.17))

    # Class features above the columns of the table of similarities, image features beside its rows.
    step, left, top = 0.27, 7.06, 1.5
    owner = [task for task, (_, classes) in enumerate(NAMES) for _ in classes]
    title(left + 2.5 * step, 3.58, "class\nfeatures")
    for column, task in enumerate(owner):
        cells(axes, left + step * column + 0.065, 2.82, 1, 5, 0.14, TASKS[task])
    arrow(axes, (left + 2.5 * step, 2.76), (left + 2.5 * step, top + 0.06))
    for row, task in enumerate((0, 0, 1, 1)):
        y = top - step * (row + 1)
        for column, other in enumerate(owner):
            look = {"facecolor": PALE[task] if task == other else "white", "edgecolor": "#BBBBBB", "linewidth": 0.8}
            axes.add_patch(Rectangle((left + step * column, y), step, step, **look))
        right = (0, 2, 3, 4)[row]  # the image's class
        axes.add_patch(Circle((left + step * (right + 0.5), y + step / 2), 0.07, facecolor=TASKS[task]))
        cells(axes, 6.14, y + 0.065, 5, 1, 0.14, TASKS[task])
    for task, (first, count) in enumerate(((0, 3), (3, 2))):
        corner = (left + step * first, top - 2 * step * (task + 1))
        axes.add_patch(Rectangle(corner, step * count, 2 * step, fill=False, edgecolor=TASKS[task], linewidth=2))
    arrow(axes, (6.86, top - 2 * step), (7.03, top - 2 * step))

    # Images.
    for task, draw in enumerate((pet, texture)):
        for column, kind in enumerate((task == 1, task == 0)):  # beagle, sphynx; dotted, striped
            x, y = 3.62 + 0.46 * column, top - 0.53 - 0.51 * task
            box(axes, x, y, 0.4, 0.4, facecolor=PALE[task], edgecolor=TASKS[task])
            draw(axes, x, y, TASKS[task], kind)
    title(4.05, top + 0.08, "images")
    arrow(axes, (4.55, top - 2 * step), (4.8, top - 2 * step))
    box(axes, 4.83, 0.36, 0.86, 1.2, "image\nencoder", facecolor=FROZEN)
    arrow(axes, (5.69, top - 2 * step), (6.09, top - 2 * step))
    title(6.48, top + 0.08, "image features")

    # The loss of each task, and their sum.
    end = left + 5 * step
    for task, name in enumerate(("L₁", "L₂")):
        y = top - step * (2 * task + 1)
        arrow(axes, (end + 0.03, y), (end + 0.28, y), TASKS[task])
        box(axes, end + 0.3, y - 0.14, 0.34, 0.28, name, edgecolor=TASKS[task], color=TASKS[task], weight="bold")
    axes.text(end + 0.47, top - 2 * step, "+", ha="center", va="center", size=12, color=INK)
    axes.text(left + 2.5 * step, 0.36, "softmax within\nthe image's task", ha="center", va="top", size=10, color=INK)

    # What the colours mean.
    box(axes, 0.1, 1.2, 0.34, 0.18, facecolor=LEARNED, edgecolor=LEARNED)
    box(axes, 0.1, 0.9, 0.34, 0.18, facecolor=FROZEN)
    for task, color in enumerate(TASKS):
        box(axes, 0.1 + 0.4 * task, 0.6, 0.34, 0.18, facecolor=color, edgecolor=color)
    meanings = ((0.54, 1.29, "learned, shared by all tasks"), (0.54, 0.99, "frozen CLIP"), (0.94, 0.69, "of one task"))
    for x, y, text in meanings:
        axes.text(x, y, text, va="center", size=10, color=INK)
    return figure


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # Without a date and with fixed ids, the same picture is the same file.
    with matplotlib.rc_context({"svg.hashsalt": "softcpt", "font.family": "DejaVu Sans"}):
        draw_method().savefig(folder / "method.svg", metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs")
