"""Does A beat B? Paired tests over tasks with effect sizes, and Holm's correction for several comparisons.

The unit is the task. The seeds of a task share its test images and classes, so they are not independent, and a test
over (task, seed) pairs would find differences too easily. Following Demsar ("Statistical Comparisons of Classifiers
over Multiple Data Sets", JMLR 7, 2006), a task's values are averaged, and the tasks' differences go into Wilcoxon's
signed-rank test. The average is over pairs of runs with equal shots and seed, and so with the same training images.
With few tasks p cannot be small, however clear the differences are: see `smallest_p`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata, wilcoxon

from softcpt.files.texts import counted

from .tables import AVERAGE
from .texts import MISSING, shots_name, shots_order

LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """A paired test of two methods.

    Attributes:
        shots: None for the average over all numbers of shots that both methods have.
        n: number of tasks.
        difference: mean of a - b over the tasks, in points.
        wins, ties, losses: numbers of tasks where a is ahead, level or behind.
        effect: matched-pairs rank-biserial correlation, from -1 (b ahead everywhere) to 1 (a ahead everywhere); 0
            without differences.
        p: two-sided p of Wilcoxon's signed-rank test; 1 without differences.
        smallest_p: the smallest p that the test can give with as many differing tasks.
    """

    a: str
    b: str
    shots: int | None
    n: int
    difference: float
    wins: int
    ties: int
    losses: int
    effect: float
    p: float
    smallest_p: float


def values_of(frame: pd.DataFrame) -> pd.DataFrame:
    """The input of the tests: one section's rows of `results_frame` as tasks x (method, shots, seed)."""
    frame = frame[frame["task"] != AVERAGE]
    wide = frame.pivot(index="task", columns=["method", "shots", "seed"], values="value")
    return wide.reindex(frame["task"].unique())


def differences(values: pd.DataFrame, a: str, b: str, shots: int | None = None) -> pd.Series:
    """a - b in points per task, over the shots and seeds that both have: the mean over seeds, then over shots.

    Args:
        values: see `values_of`. A method without training images has one value for all shots and seeds.
        shots: one number of shots; None for all.

    Raises ValueError, with the known names, for an unknown method.
    """
    check_names((a, b), values.columns.get_level_values("method").unique())
    first, second = (_runs(values[name], shots) for name in (a, b))
    runs = second.rsub(first, axis=0) if isinstance(second, pd.DataFrame) else first.sub(second, axis=0)
    if isinstance(runs, pd.DataFrame):
        runs = runs.T.groupby(level="shots").mean().mean()  # over the seeds, then over the shots
    return runs.dropna()


def check_names(names: Iterable[str], known: Sequence[str]) -> None:
    """Raise ValueError, with the known names, for an unknown method."""
    for name in names:
        if name not in known:
            raise ValueError(f"no method {name!r} to compare; there are: {', '.join(known)}")


def _runs(values: pd.DataFrame, shots: int | None) -> pd.DataFrame | pd.Series:
    """A method's values, tasks x (shots, seed), at one number of shots or all; for an untrained method one value per
    task."""
    given = values.columns.get_level_values("shots")
    if (given == 0).all():
        return values.mean(axis=1)
    return values.loc[:, (given == shots) if shots is not None else (given != 0)]


def compare(values: pd.DataFrame, a: str, b: str, shots: int | None = None) -> Comparison | None:
    """The test of a against b, see `differences`; None without a common run."""
    found = differences(values, a, b, shots).to_numpy()
    if not len(found):
        return None
    found = np.where(np.abs(found) < 1e-9, 0.0, found.round(9))  # equal but for rounding
    wins, ties, losses = (int(some.sum()) for some in (found > 0, found == 0, found < 0))
    differing = found[found != 0]
    p, effect = 1.0, 0.0
    if len(differing):
        ranks = rankdata(np.abs(differing))
        effect = float((ranks * np.sign(differing)).sum() / ranks.sum())
        # SciPy's p is exact up to 50 tasks, with ties up to 13; beyond, it is the normal approximation.
        p = float(wilcoxon(differing).pvalue)
    smallest_p = min(1.0, 2.0 ** (1 - len(differing)))
    return Comparison(a, b, shots, len(found), float(found.mean()), wins, ties, losses, effect, p, smallest_p)


def holm(p: Sequence[float]) -> list[float]:
    """The p values after Holm's correction (1979): of m values, the i-th smallest times m - i + 1, kept in order."""
    adjusted, running = [0.0] * len(p), 0.0
    for i, place in enumerate(np.argsort(p, kind="stable")):
        running = max(running, min(1.0, p[place] * (len(p) - i)))
        adjusted[place] = running
    return adjusted


def against_all(values: pd.DataFrame, reference: str) -> list[Comparison]:
    """One method against every other of a section, over all shots that the two have in common."""
    others = values.columns.get_level_values("method").unique().drop(reference)
    return [found for name in others if (found := compare(values, reference, name))]


def at_each_shots(values: pd.DataFrame, a: str, b: str) -> list[Comparison]:
    """Two methods at each number of shots that both have, and then over all of them."""
    shots = sorted(set(values.columns.get_level_values("shots")) - {0}, key=shots_order)
    found = [one for value in shots if (one := compare(values, a, b, value))]
    whole = compare(values, a, b)
    return found + ([whole] if whole and len(found) != 1 else [])


def comparison_table(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """A row of texts per comparison, with p before and after Holm's correction."""
    adjusted = holm([one.p for one in comparisons])
    rows = [
        {
            "A": one.a,
            "B": one.b,
            "shots": "all" if one.shots is None else shots_name(one.shots),
            "tasks": str(one.n),
            "A - B": f"{one.difference:+.1f}",
            "won / level / lost": f"{one.wins} / {one.ties} / {one.losses}",
            "effect": f"{one.effect:+.2f}",
            "p": p_text(one.p),
            "p (Holm)": p_text(p) if len(comparisons) > 1 else MISSING,
        }
        for one, p in zip(comparisons, adjusted)
    ]
    return pd.DataFrame(rows)


def p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def comparison_note(comparisons: Sequence[Comparison]) -> str:
    """What a table of comparisons means, and what it can show with so few tasks."""
    best = min(comparisons, key=lambda one: one.smallest_p)
    n, smallest = counted(best.n, "task"), best.smallest_p
    corrected = min(1.0, smallest * len(comparisons))
    note = (
        "Two-sided Wilcoxon signed-rank test over tasks, whose values are averaged over the runs of equal shots and "
        "seed (the seeds of a task are not independent). A - B is the mean difference in points; effect is the "
        "matched-pairs rank-biserial correlation, 1 if A is ahead on every task. "
        f"With {n}{f', {best.ties} of them level,' if best.ties else ''} the smallest p that the test can give is "
        f"{p_text(smallest)}"
    )
    if len(comparisons) > 1:
        note += f", and {p_text(corrected)} for the first of {len(comparisons)} comparisons after Holm's correction"
    if corrected >= LEVEL:
        note += f": no difference here can be significant at {LEVEL}, however large it is; read the effects"
    return note + "."
