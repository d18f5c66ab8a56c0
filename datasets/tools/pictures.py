"""Pictures of a data set: the number of images per class, and sample images with their prompts."""

import math
import textwrap
from collections.abc import Sequence

from matplotlib.figure import Figure

from softcpt.files.texts import counted, plain
from softcpt.images.read import small_image

from ..splits import PARTS
from .check import per_class
from .on_disk import Contents

COLOURS = ("#4269d0", "#efb118", "#6cc5b0")
SAMPLES = 6
SIDE = 256  # pixels of a sample's longer side
MAX_NAMES = 40  # more classes are not labelled


def counts_figure(contents: Sequence[Contents]) -> Figure:
    """Images per class and part as stacked bars, one panel per task."""
    columns = min(2, len(contents))
    rows = math.ceil(len(contents) / columns)
    figure = Figure(figsize=(7 * columns, 2.8 * rows + 0.6), layout="constrained")
    for place, task in enumerate(contents, start=1):
        axes = figure.add_subplot(rows, columns, place)
        table = per_class(task)
        names, *parts = zip(*table)
        below = [0] * len(table)
        for part, counts, colour in zip(PARTS, parts, COLOURS):
            axes.bar(range(len(table)), counts, bottom=below, width=0.9, color=colour, label=part)
            below = [a + b for a, b in zip(below, counts)]
        sizes = f"{counted(len(table), 'class')}, {counted(sum(below), 'image')}"
        axes.set_title(f"{own(task.task.name)}: {sizes}", fontsize=10)
        axes.set_ylabel("images")
        if len(table) <= MAX_NAMES:
            axes.set_xticks(range(len(table)), list(map(own, names)), rotation=90, fontsize=7)
        else:
            axes.set_xlabel("class")
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(PARTS), frameon=False)
    return figure


def samples_figure(contents: Sequence[Contents]) -> Figure:
    """One row per task: test images of classes spread over the labels, with the classes' hand-made prompts."""
    figure = Figure(figsize=(2.1 * SAMPLES, 2.9 * len(contents)), layout="constrained")
    panels = figure.subfigures(len(contents), 1, squeeze=False)[:, 0]
    for panel, task in zip(panels, contents):
        panel.suptitle(own(task.task.name), fontsize=10, x=0.01, ha="left", weight="bold")
        for place, item in enumerate(sample(task), start=1):
            axes = panel.add_subplot(1, SAMPLES, place)
            try:
                axes.imshow(small_image(item.impath, SIDE, task.upright))
            except OSError:  # data.py check names it
                axes.text(0.5, 0.5, "cannot be read", fontsize=7, ha="center", transform=axes.transAxes)
            prompt = task.task.template.format(item.classname.replace("_", " "))
            axes.set_xlabel("\n".join(textwrap.wrap(own(prompt), 26)), fontsize=7)
            axes.set_xticks([])
            axes.set_yticks([])
    return figure


def own(name: str) -> str:
    """A name as the text of a picture, in which dollars are no mathematics."""
    return plain(name).replace("$", r"\$")


def sample(task: Contents) -> list:
    """One image for each of up to `SAMPLES` classes, from the test part, or from another if that is empty."""
    items = next(part for part in reversed(task.parts) if part)
    first = {item.label: item for item in reversed(items)}
    labels = sorted(first)
    step = max(1, len(labels) // SAMPLES)
    return [first[label] for label in labels[::step][:SAMPLES]]
