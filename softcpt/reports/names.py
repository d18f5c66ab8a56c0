"""The names of a report's methods, tasks and data sets: fit for a terminal, and told apart where runs differ."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from softcpt.evaluation.provenance import PROJECT_ROOT
from softcpt.files import read_yaml
from softcpt.files.texts import counted, plain

from .tables import AVERAGE, tested

HEADINGS = {AVERAGE, "task", "method", "training", "memory"}  # of the tables, which no task or method may be called
OWN_FOLDERS = "FolderTasks"  # the data set whose name says nothing about the data: its root does
ROOT_FLAG = re.compile(r"--root[ =]('[^']*'|\S+)")


def shown_name(name: object, what: str) -> str:
    """A name without control characters; "memory (task)" for a task or method that is called like a heading."""
    text = plain(name)
    return f"{text} ({what})" if text in HEADINGS else text


def presentable(record: Mapping) -> dict[str, Any]:
    """A copy of a record, with its method in the key "method", whose names are fit for a report."""
    texts = {key: plain(record[key]) for key in ("dataset", "backbone", "split", "device", "commit")}
    names: dict[str, int] = defaultdict(int)
    tasks = []
    for task in record["tasks"]:
        name = shown_name(task["name"], "task")
        names[name] += 1
        tasks.append({**task, "name": name if names[name] == 1 else f"{name} ({names[name]})"})
    versions = {plain(key): plain(value) for key, value in record["versions"].items()}
    return {**record, **texts, "method": shown_name(record["method"], "method"), "tasks": tasks, "versions": versions}


def named_by_root(records: Iterable[Mapping]) -> list[dict[str, Any]]:
    """The records. If runs on users' own folders have different roots, their data sets are called by these."""
    found = [dict(record) for record in records]
    roots = {id(record): _root(record) for record in found if record["dataset"] == OWN_FOLDERS}
    different = sorted(set(roots.values()) - {""})
    if len(different) > 1:
        short = _shortest(different)
        for record in found:
            if roots.get(id(record)):
                record["dataset"] = f"{OWN_FOLDERS} in {short[roots[id(record)]]}"
    return found


def _root(record: Mapping) -> str:
    """DATASET.ROOT of a run, from its command or else its config.yaml; "" if it is not known."""
    named = ROOT_FLAG.search(record.get("command") or "")
    root: object = named[1].strip("'") if named else ""
    path = Path(record.get("path", "")).with_name("config.yaml") if record.get("path") else Path()
    if not root and path.is_file():
        try:
            root = read_yaml(path)["DATASET"]["ROOT"]
        except (ValueError, KeyError, TypeError, OSError):
            root = ""
    return str(PROJECT_ROOT / Path(root).expanduser()) if isinstance(root, str) and root else ""


def _shortest(roots: list[str]) -> dict[str, str]:
    """{path: its last parts, as many as tell all of them apart}."""
    for count in range(1, max(len(Path(root).parts) for root in roots)):
        short = {root: "/".join(Path(root).parts[-count:]) for root in roots}
        if len(set(short.values())) == len(roots):
            return short
    return {root: root for root in roots}


def told_apart_by_settings(records: Iterable[Mapping]) -> tuple[list[dict[str, Any]], list[str]]:
    """The records, with "(50 steps)" behind the names of methods whose runs of equal shots differ in their steps, and
    the like for what their models were chosen on; and a note for each such name. No mean is over both."""
    copies = [dict(record) for record in records]
    groups = defaultdict(list)
    for record in copies:
        place = (*(record[key] for key in ("dataset", "backbone", "split", "shots")), tested(record["tasks"]))
        groups[(*place, record["method"])].append(record)
    notes = []
    for (*_, method), own in groups.items():
        facts = {what: {_fact(record, what) for record in own} - {""} for what in ("steps", "chosen_on")}
        differing = [what for what, values in facts.items() if len(values) > 1]
        if differing:
            for record in own:
                words = ", ".join(filter(None, (_fact(record, what) for what in differing)))
                record["method"] += f" ({words})" if words else ""
            kinds = "; ".join(", ".join(sorted(facts[what])) for what in differing)
            notes.append(f"{method}: its runs differ in their settings ({kinds}); they are kept apart")
    return copies, list(dict.fromkeys(notes))


def _fact(record: Mapping, what: str) -> str:
    value = record.get(what)
    if what == "steps":
        return counted(value, "step") if value else ""
    return f"chosen on {plain(value)}" if value else ""
