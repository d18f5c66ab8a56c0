"""Did the tasks help each other? A method trained on all tasks at once against the same one trained once per task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from softcpt.files.texts import counted

from ..sweeps import run_variant
from .statistics import at_each_shots, comparison_note, comparison_table, values_of
from .tables import AVERAGE
from .texts import cell, shots_name


@dataclass(frozen=True)
class Pair:
    """The names in tables of a method's joint and separate runs."""

    joint: str
    separate: str


def pairs(records: Sequence[Mapping], method: str) -> list[Pair]:
    """The joint and separate runs of a method.

    Args:
        records: with their names in tables in the key "method".
        method: a trainer ("SoftCPT"), one of its variants ("SoftCPT NATA"), or a sweep's label.

    Raises ValueError, with the known methods and how to train once per task, if there are none.
    """
    runs: dict[tuple[str, str], str] = {}
    for record in records:
        runs.setdefault((record["trainer"], record["variant"]), record["method"])
    found = []
    for (trainer, variant), name in runs.items():
        own = f"{trainer} {variant}".strip()
        alone = (trainer, run_variant(variant, separate=True))
        if alone in runs and method.casefold() in (trainer.casefold(), own.casefold(), name.casefold()):
            found.append(Pair(name, runs[alone]))
    if not found:
        raise ValueError(
            f"no method {method!r} that was trained both on all tasks at once and once per task (SEPARATE=1 of "
            f"scripts/<method>/main.sh, `separate` in a sweep); there are: {', '.join(sorted(set(runs.values())))}"
        )
    return found


def joint_table(frame: pd.DataFrame, pair: Pair, shots: int) -> pd.DataFrame:
    """Tasks x (joint, separate, difference) as texts, over the seeds that both have."""
    frame = frame[frame["shots"] == shots]
    wide = {
        name: frame[frame["method"] == name].pivot_table("value", "task", "seed", sort=False)
        for name in (pair.joint, pair.separate)
    }
    joint, alone = wide.values()
    seeds = joint.columns.intersection(alone.columns)
    tasks = [task for task in joint.index if task in alone.index and task != AVERAGE]
    rows = []
    for task in [*tasks, *[AVERAGE] * (len(tasks) > 1)]:
        values = [joint.loc[task, seeds], alone.loc[task, seeds]]
        difference = values[0] - values[1]
        texts = [cell(some.mean(), some.std(), some.count(), some.count()) for some in (*values, difference)]
        rows.append([task, *texts[:2], ("+" if difference.mean() >= 0 else "") + texts[2]])
    return pd.DataFrame(rows, columns=["task", f"{pair.joint} (joint)", pair.separate, "joint - separate"])


def joint_sections(frame: pd.DataFrame, found: Sequence[Pair]) -> list[tuple[str, pd.DataFrame, str]]:
    """(heading, table, note) of each pair at each number of shots in one section, and of its tests over the shots."""
    parts, values = [], values_of(frame)
    for pair in found:
        if not {pair.joint, pair.separate} <= set(frame["method"]):
            continue
        tests = at_each_shots(values, pair.joint, pair.separate)
        for test in tests:
            if test.shots is not None:
                heading = f"Did the tasks help each other? {pair.joint}, {shots_name(test.shots)}"
                note = (
                    f"Joint training is ahead on {test.wins} of {counted(test.n, 'task')}, level on {test.ties} and "
                    f"behind on {test.losses}; {test.difference:+.1f} points on average."
                )
                parts.append((heading, joint_table(frame, pair, test.shots), note))
        if tests:
            heading = f"Does {pair.joint} beat {pair.separate}?"
            parts.append((heading, comparison_table(tests), comparison_note(tests)))
    return parts
