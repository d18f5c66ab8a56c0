"""The files of an interpretation: interpret.json, pictures and interpret.md."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from softcpt.files import write_atomically
from softcpt.files.texts import counted, markdown_text, plain

from .gains import Gains, as_json, markdown
from .heatmaps import change_figure, ordered, similarity_figure
from .pictures import png

SCHEMA = 1
FOLDER = "interpret"  # below the run folder
SHOWN = 12  # contexts whose words are in interpret.md; interpret.json has those of all
LEAST = 2  # tasks for a picture of similarities


def token_rows(words: Sequence[Sequence[str]], distances: Sequence[Sequence[float]]) -> list[dict]:
    """The k nearest words of each of M context tokens, with their distances, as values of interpret.json."""
    return [
        {"position": i + 1, "words": list(some), "distances": [round(float(value), 4) for value in own]}
        for i, (some, own) in enumerate(zip(words, distances))
    ]


def similarity_entry(similarity: np.ndarray, tasks: Sequence[str]) -> dict:
    """A similarity matrix (T, T) and the order of the tasks in its dendrogram, as a value of interpret.json."""
    return {
        "tasks": list(tasks),
        "similarity": [[round(float(value), 6) for value in row] for row in similarity],
        "order": [tasks[i] for i in ordered(similarity)[0]],
    }


def write_interpretation(folder: Path, found: Mapping, gains: Sequence[Gains]) -> list[Path]:
    """Write pictures, interpret.json and interpret.md into `folder`, in this order, each atomically. Returns the paths.

    Args:
        found: what interpret.json says of a run: "title" and, if known, "contexts", "word_distance", "note",
            "task_features" and "task_contexts"; {} for gains alone.
        gains: matrices of a leave-one-out sweep.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures: dict[str, bytes] = {}
    for key, what in (("task_features", "Task features"), ("task_contexts", "Contexts")):
        entry = found.get(key)
        if entry and len(entry["tasks"]) >= LEAST:
            figure = similarity_figure(np.array(entry["similarity"]), entry["tasks"], f"{what}: {found['title']}")
            pictures[f"{key}.png"] = png(figure)
    for i, some in enumerate(gains):
        figure = change_figure(some.change, some.tasks, some.tasks, f"A task left out: {some.name}")
        pictures[f"gains{i + 1 if len(gains) > 1 else ''}.png"] = png(figure)
    content = {"schema": SCHEMA, **found, "gains": [as_json(some) for some in gains]}
    texts = {
        "interpret.json": json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        "interpret.md": section(found, gains),
    }
    for name, value in {**pictures, **texts}.items():
        write_atomically(folder / name, value)
    for old in {path.name for path in folder.glob("*.png")} - pictures.keys():
        (folder / old).unlink()  # from an earlier call, and not in interpret.md
    return [folder / name for name in (*pictures, *texts)]


def section(found: Mapping, gains: Sequence[Gains]) -> str:
    """The text of interpret.md, with headings from the second level down and pictures by their file names."""
    parts = (
        [f"## Looking inside: {markdown_text(found['title'])}", *_words(found)]
        if found
        else ["## Which tasks gain from which"]
    )
    for key, text in (
        ("task_features", "Cosine similarity of the task features, which the meta network reads"),
        ("task_contexts", "Cosine similarity of the tasks' contexts, all tokens as one vector"),
    ):
        if key in found and len(found[key]["tasks"]) >= LEAST:
            order = "; ".join(map(markdown_text, found[key]["order"]))
            parts += [f"{text}, in the order of the dendrogram ({order}).", f"![{text}]({key}.png)"]
    for i, some in enumerate(gains):
        name = f"gains{i + 1 if len(gains) > 1 else ''}.png"
        seeds = sorted(set(some.n[some.n > 0].tolist()))
        parts += [
            f"### A task left out: {markdown_text(some.name)}",
            "Change of a task's metric, in points, when the task of the row is left out of training: below zero, the "
            f"task of the column gains from it. Mean over {' or '.join(map(str, seeds))} seed{'s' * (seeds != [1])}.",
            markdown(some),
            f"![Change of the metric when a task is left out]({name})",
        ]
    return "\n\n".join(parts) + "\n"


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
