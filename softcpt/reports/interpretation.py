"""The files of an interpretation: interpret.json, heat maps of tasks and interpret.md."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from softcpt.files import write_atomically
from softcpt.files.texts import counted, markdown_text, plain

from .leave_one_out import Gains, as_json, gains_table
from .pictures import png

SCHEMA = 1
FOLDER = "interpret"  # below the run folder
SHOWN = 12  # contexts whose words are in interpret.md; interpret.json has those of all
LEAST = 2  # tasks for a picture of similarities
CELL = 0.62  # inches
WIDEST = 24  # characters per line of a task's name
NUMBERS = 25  # a matrix with more rows has no numbers in its cells
SIMILARITIES = {
    "task_features": "Cosine similarity of the task features, which the meta network reads",
    "task_contexts": "Cosine similarity of the tasks' contexts, all tokens as one vector",
}


def similarity_entry(similarity: np.ndarray, tasks: Sequence[str]) -> dict:
    """A similarity matrix (T, T) and an order of the tasks that puts similar ones together, as a value of
    interpret.json."""
    return {
        "tasks": list(tasks),
        "similarity": [[round(float(value), 6) for value in row] for row in similarity],
        "order": [tasks[i] for i in ordered(similarity)],
    }


def ordered(similarity: np.ndarray) -> list[int]:
    """An order of the rows that puts similar ones together: the leaves of the tree that average linkage of
    1 - similarity (N, N) makes. Of an order and its mirror image, the one that begins with the smaller index."""
    if len(similarity) < LEAST:
        return list(range(len(similarity)))
    distance = np.clip(1 - (similarity + similarity.T) / 2, 0, None)
    np.fill_diagonal(distance, 0)
    tree = hierarchy.linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    order = hierarchy.leaves_list(tree).tolist()
    return order if order[0] < order[-1] else order[::-1]


def write_interpretation(folder: Path, found: Mapping, gains: Sequence[Gains]) -> list[Path]:
    """Write pictures, interpret.json and interpret.md into `folder`, in this order, each atomically. Returns the paths.

    Args:
        found: what interpret.json says of a run: "title" and, if known, "contexts", "word_distance", "note",
            "task_features" and "task_contexts"; {} for gains alone.
        gains: matrices of a leave-one-out sweep.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts, pictures = [], {}
    if found:
        parts = [f"## Looking inside: {markdown_text(found['title'])}", *_words(found)]
    for key, text in SIMILARITIES.items():
        if key in found and len(found[key]["tasks"]) >= LEAST:
            order = "; ".join(map(markdown_text, found[key]["order"]))
            parts += [f"{text}; similar tasks are neighbours ({order}).", f"![{text}]({key}.png)"]
            pictures[f"{key}.png"] = png(similarity_figure(found[key], f"{text}: {found['title']}"))
    if not found:
        parts = ["## Which tasks gain from which"]
    for i, some in enumerate(gains):
        name = f"gains{i + 1 if len(gains) > 1 else ''}.png"
        parts += _gains(some, name)
        pictures[name] = png(change_figure(some))
    content = {"schema": SCHEMA, **found, "gains": [as_json(some) for some in gains]}
    texts = {
        "interpret.json": json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        "interpret.md": "\n\n".join(parts) + "\n",
    }
    files: dict[str, str | bytes] = {**pictures, **texts}
    for name, value in files.items():
        write_atomically(folder / name, value)
    for old in {path.name for path in folder.glob("*.png")} - pictures.keys():
        (folder / old).unlink()  # from an earlier call, and not in interpret.md
    return [folder / name for name in files]


def _words(found: Mapping) -> list[str]:
    """The paragraphs on the words near the contexts."""
    parts = [
        "Words of CLIP's vocabulary nearest to each context token, with their Euclidean distance. A word's own nearest "
        f"neighbour is {found['word_distance']:.2f} away (median): for tokens that are farther from all words, the "
        "list says little.",
        found.get("note", ""),
    ]
    for context in found["contexts"][:SHOWN]:
        rows = ["| token | nearest words |", "|---:|:---|"]
        for token in context["tokens"]:
            pairs = zip(token["words"], token["distances"])
            words = ", ".join(f"`{_cell(word)}` {distance:.2f}" for word, distance in pairs)
            rows.append(f"| {token['position']} | {words} |")
        parts += [f"### {markdown_text(context['owner'])}", "\n".join(rows)]
    if (others := len(found["contexts"]) - SHOWN) > 0:
        parts.append(f"{counted(others, 'more context')} {'is' if others == 1 else 'are'} in interpret.json.")
    return [part for part in parts if part]


def _cell(word: str) -> str:
    return plain(word).replace("|", "\\|").replace("`", "'") or " "


def _gains(gains: Gains, picture: str) -> list[str]:
    """The paragraphs on one matrix of gains."""
    seeds = sorted(set(gains.n[gains.n > 0].tolist()))
    return [
        f"### A task left out: {markdown_text(gains.name)}",
        "Change of a task's metric, in points, when the task of the row is left out of training: below zero, the "
        f"task of the column gains from it. Mean over {' or '.join(map(str, seeds))} seed{'s' * (seeds != [1])}.",
        gains_table(gains),
        f"![Change of the metric when a task is left out]({picture})",
    ]


def similarity_figure(entry: Mapping, title: str) -> Figure:
    """The heat map of a `similarity_entry`, in its order; the diagonal is empty."""
    places = [entry["tasks"].index(name) for name in entry["order"]]
    values = np.array(entry["similarity"])[np.ix_(places, places)]
    np.fill_diagonal(values, np.nan)
    limits = float(np.nanmin(values)), float(np.nanmax(values))
    return heat_map(values, entry["order"], title, "cosine similarity", "{:.2f}", "viridis", limits)


def change_figure(gains: Gains) -> Figure:
    """The heat map of changes when a task is left out, brown for worse."""
    most = float(np.nanmax(np.abs(gains.change), initial=0)) or 1.0
    title, label = f"A task left out: {gains.name}", "change of the metric, in points"
    figure = heat_map(gains.change, gains.tasks, title, label, "{:+.1f}", "PuOr", (-most, most))
    figure.axes[0].set(xlabel="tested", ylabel="left out of training")
    return figure


def heat_map(
    values: np.ndarray, names: Sequence[str], title: str, label: str, form: str, colours: str, limits: tuple
) -> Figure:
    """A matrix (N, N), with NaN for nothing, in a colour map that is safe for colour-blind readers."""
    size = max(3.0, CELL * len(names))
    figure = Figure(figsize=(size + 3.6, size + 2.6), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
    labels = [textwrap.fill(name, WIDEST) for name in names]
    axes.set_xticks(range(len(names)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), labels)
    axes.tick_params(labelsize=8, length=0)
    axes.spines[:].set_visible(False)
    for i, j in np.argwhere(np.isfinite(values)) if len(names) <= NUMBERS else ():
        red, green, blue, _ = image.to_rgba(values[i, j])
        colour = "white" if 0.3 * red + 0.6 * green + 0.1 * blue < 0.5 else "black"
        axes.text(j, i, form.format(values[i, j]), ha="center", va="center", fontsize=8, color=colour)
    figure.colorbar(image, ax=axes, shrink=0.8, label=label)
    figure.suptitle(title, fontsize=11, fontweight="bold")
    return figure
