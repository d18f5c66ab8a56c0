"""What scripts/interpret.py wrote about runs, read again for a report: pictures, and the words near a run's
contexts."""

import json
from collections.abc import Iterable, Iterator
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


def folders_below(out_dir: Path, runs: Iterable[Path]) -> list[Path]:
    """The folders that scripts/interpret.py wrote in a report's own folder and in those of its runs."""
    places = [out_dir, *dict.fromkeys(runs)]
    return [place / FOLDER for place in places if (place / FOLDER / "interpret.json").is_file()]


def insides(out_dir: Path, runs: Iterable[Path]) -> tuple[list[dict], list[str]]:
    """What a report shows of the first MOST folders, and a note for each that cannot be read."""
    shown, notes = [], []
    for folder in folders_below(out_dir, runs)[:MOST]:
        try:
            found = json.loads((folder / "interpret.json").read_text(encoding="utf-8"))
            words = list(_words(found))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            notes.append(f"{folder / 'interpret.json'} cannot be read ({error!r}): call scripts/interpret.py again")
            continue
        distance = found.get("word_distance")
        shown.append(
            {
                "folder": folder,
                "title": found.get("title") or "Which tasks gain from which",
                "run": f"{found['shots']} shots, seed {found['seed']}" if "shots" in found else "",
                "pictures": [(_alt(path), data_url(path.read_bytes())) for path in sorted(folder.glob("*.png"))],
                "distance": "" if distance is None else f"{distance:.2f}",
                "words": words,
            }
        )
    return shown, notes


def _words(found: dict) -> Iterator[tuple[str, pd.DataFrame]]:
    """(owner, table of the words nearest to its tokens) of the first contexts."""
    for context in found.get("contexts", [])[:SHOWN]:
        rows = [
            (token["position"], ", ".join(f"{word} {d:.2f}" for word, d in zip(token["words"], token["distances"])))
            for token in context["tokens"]
        ]
        yield context["owner"], pd.DataFrame(rows, columns=["token", "nearest words and distances"])


def _alt(path: Path) -> str:
    return PICTURES.get(path.stem.rstrip("0123456789"), path.stem)
