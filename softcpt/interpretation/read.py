"""Reading what scripts/interpret.py wrote, for a report: pictures, and the words near a run's contexts."""

import json
import reprlib
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from softcpt.files.texts import counted, plain

from .pictures import data_url
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
            shown.append(_inside(folder))
        except (ValueError, KeyError, TypeError, AttributeError, OSError, OverflowError, RecursionError) as error:
            reason = reprlib.repr(error)
            notes.append(f"{folder / 'interpret.json'} cannot be read ({reason}): call scripts/interpret.py again")
    return shown, notes


def _inside(folder: Path) -> dict:
    """What a report shows of one interpretation. Raises a dozen types of errors for a file of another shape."""
    found = json.loads((folder / "interpret.json").read_text(encoding="utf-8"))
    distance = found.get("word_distance")
    shots = "all images" if found.get("shots") == -1 else counted(found.get("shots", 0), "shot")
    return {
        "folder": folder,
        "title": plain(found.get("title") or "Which tasks gain from which"),
        "run": f"{shots}, seed {found['seed']:d}" if "shots" in found else "",
        "pictures": [
            (PICTURES.get(path.stem.rstrip("0123456789"), plain(path.stem)), data_url(path.read_bytes()))
            for path in sorted(folder.glob("*.png"))
            if path.is_file()
        ],
        "distance": "" if distance is None else f"{distance:.2f}",
        "words": [(plain(context["owner"]), _words(context)) for context in found.get("contexts", [])[:SHOWN]],
    }


def _words(context: dict) -> pd.DataFrame:
    """The words nearest to the tokens of a context."""
    rows = [
        (token["position"], ", ".join(f"{plain(word)} {d:.2f}" for word, d in zip(token["words"], token["distances"])))
        for token in context["tokens"]
    ]
    return pd.DataFrame(rows, columns=["token", "nearest words and distances"])
