"""Reading what scripts/interpret.py wrote, for a report: pictures, and the words near a run's contexts."""

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from ..pictures import data_url
from .write import FOLDER, SHOWN

MOST = 3  # folders that a report shows
PICTURES = {
    "task_features": "Similarity of the task features",
    "task_contexts": "Similarity of the tasks' contexts",
    "gains": "Change of a task's metric where another is left out of training",
}


def insides(out_dir: Path, runs: Iterable[Path]) -> tuple[list[dict], list[str]]:
    """What a report shows of the interpretations in its own folder and in those of its runs, of the first MOST; and a
    note for each that cannot be read."""
    shown, notes = [], []
    folders = [place / FOLDER for place in (out_dir, *dict.fromkeys(runs))]
    for folder in [folder for folder in folders if (folder / "interpret.json").is_file()][:MOST]:
        try:
            found = json.loads((folder / "interpret.json").read_text(encoding="utf-8"))
            words = [(context["owner"], _words(context)) for context in found.get("contexts", [])[:SHOWN]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            notes.append(f"{folder / 'interpret.json'} cannot be read ({error!r}): call scripts/interpret.py again")
            continue
        distance = found.get("word_distance")
        shown.append(
            {
                "folder": folder,
                "title": found.get("title") or "Which tasks gain from which",
                "run": f"{found['shots']} shots, seed {found['seed']}" if "shots" in found else "",
                "pictures": [
                    (PICTURES.get(path.stem.rstrip("0123456789"), path.stem), data_url(path.read_bytes()))
                    for path in sorted(folder.glob("*.png"))
                ],
                "distance": "" if distance is None else f"{distance:.2f}",
                "words": words,
            }
        )
    return shown, notes


def _words(context: dict) -> pd.DataFrame:
    """The words nearest to the tokens of a context."""
    rows = [
        (token["position"], ", ".join(f"{word} {d:.2f}" for word, d in zip(token["words"], token["distances"])))
        for token in context["tokens"]
    ]
    return pd.DataFrame(rows, columns=["token", "nearest words and distances"])
