"""Which method to pick, by the runs' validation shots: test images choose nothing."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from softcpt.evaluation.records import VAL, VAL_N, VAL_ZERO_SHOT, in_the_mean
from softcpt.files.texts import markdown_text

from .base_to_new import SETTING, split_and_half
from .runs import ON_HALF
from .tables import SECTION, method_name, tested
from .texts import MISSING, count, duration, markdown, section_title, shots_name, shots_order

PICKED = "Which to pick"
ZERO_SHOT = "the hand-made prompts (zero-shot CLIP)"
NOTE = (
    "By the validation shots alone: the method with the highest mean over the tasks, and those that are level with it, "
    "the cheapest to train first. Level means within one standard error of the difference, computed as if every image "
    "were drawn alone; with few images many methods are level, and then the price, or a test of your own, decides."
)
CHOSEN = (
    " Methods that chose a setting on these images ({}) are read too well on them; they are picked only if they lead "
    "all others by more than two standard errors."
)


@dataclass(frozen=True)
class Candidate:
    """A method at one number of shots.

    Attributes:
        value: mean over the tasks of their metrics on the validation shots, percent; se: its standard error.
        n: number of validation images, over all seeds.
        chosen: whether a setting was chosen on these images.
        seconds: of training, NaN if unknown; parameters: that are trained.
    """

    method: str
    value: float
    se: float
    n: int
    chosen: bool
    seconds: float
    parameters: float

    @property
    def price(self) -> tuple[float, float]:
        """A sort key: seconds, then parameters."""
        return (math.inf if math.isnan(self.seconds) else self.seconds), self.parameters


def validation_frame(records: Iterable[Mapping]) -> pd.DataFrame:
    """One row per task with validation shots of each run that trained, or that was tested on a half.

    Columns: those of SECTION, method, shots, seed, task, value and zero_shot in percent (NaN if unknown), n, chosen,
    seconds, parameters.
    """
    rows = []
    for record in records:
        if record["loaded_from"] and not ON_HALF.match(record["split"]):
            continue  # a run that is there itself
        run = {key: record[key] for key in ("dataset", "backbone", "split", "shots", "seed")}
        run |= {"tested": tested(record["tasks"]), "method": method_name(record), "chosen": record["chosen_on"] == VAL}
        run |= {"seconds": record["train_seconds"], "parameters": record["n_params"]}
        for task in in_the_mean(record["tasks"]):
            if VAL in task and task.get(VAL_N, 0) > 0:
                own = {"task": task["name"], "value": task[VAL], "n": task[VAL_N]}
                rows.append({**run, **own, "zero_shot": task.get(VAL_ZERO_SHOT)})
    columns = [
        *SECTION,
        "method",
        "shots",
        "seed",
        "task",
        "value",
        "zero_shot",
        "n",
        "chosen",
        "seconds",
        "parameters",
    ]
    return pd.DataFrame(rows, columns=columns).astype({"value": float, "zero_shot": float, "seconds": float})


def mean_and_error(rows: pd.DataFrame, column: str) -> tuple[float, float]:
    """The mean over the tasks of `column`, in percent, and its standard error, from the binomial variance of each task
    over the images of all seeds; the share has Laplace's correction, so that no error is 0."""
    tasks = rows.groupby("task", sort=False).agg(value=(column, "mean"), n=("n", "sum"))
    share = (tasks["value"].clip(0, 100) / 100 * tasks["n"] + 1) / (tasks["n"] + 2)
    variance = share * (1 - share) / tasks["n"]
    return float(tasks["value"].mean()), 100 * math.sqrt(variance.sum()) / len(tasks)


def candidates(rows: pd.DataFrame) -> list[Candidate]:
    """The methods of one section at one number of shots, and zero-shot CLIP if a run knows its value on these images.

    Only methods with all tasks are compared.
    """
    found, tasks = [], rows["task"].nunique()
    for method, own in rows.groupby("method", sort=False):
        if own["task"].nunique() == tasks:
            runs = own.drop_duplicates("seed")
            chosen, price = bool(own["chosen"].any()), (float(runs["seconds"].mean()), float(runs["parameters"].max()))
            found.append(Candidate(str(method), *mean_and_error(own, "value"), int(own["n"].sum()), chosen, *price))
    for _, own in rows.dropna(subset="zero_shot").groupby("method", sort=False):
        if own["task"].nunique() == tasks:
            found.append(Candidate(ZERO_SHOT, *mean_and_error(own, "zero_shot"), int(own["n"].sum()), False, 0.0, 0.0))
            break
    return found


def pick(found: Sequence[Candidate]) -> tuple[Candidate, list[Candidate]]:
    """The method to pick, and those level with it, the cheapest first; see NOTE and CHOSEN."""
    fair = max((one for one in found if not one.chosen), key=lambda one: one.value, default=None)

    def clear(one: Candidate) -> bool:
        return fair is None or one.value - fair.value > 2 * math.hypot(one.se, fair.se)

    allowed = [one for one in found if not one.chosen or clear(one)]
    best = max(allowed, key=lambda one: one.value)
    level = [one for one in allowed if one is not best and best.value - one.value <= math.hypot(best.se, one.se)]
    return best, sorted(level, key=lambda one: one.price)


def row_of(found: Sequence[Candidate], shots: int) -> dict[str, str]:
    """A row of the table, for one number of shots."""
    best, level = pick(found)
    names = [f"{one.method} ({one.value:.1f}, {duration(one.seconds)})" for one in level]
    return {
        "shots": shots_name(shots),
        "pick": best.method,
        "validation": f"{best.value:.1f} ± {best.se:.1f}",
        "images": f"{best.n:,}",
        "training": duration(best.seconds),
        "parameters": count(best.parameters),
        "level with it": ", ".join(names) or MISSING,
    }


def picks(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The table of a section, a row per number of shots, and the note below it; rows of `validation_frame`."""
    numbers = sorted(rows["shots"].unique(), key=shots_order)
    table = pd.DataFrame([row_of(candidates(rows[rows["shots"] == shots]), shots) for shots in numbers])
    return table, note_on(rows)


def note_on(rows: pd.DataFrame) -> str:
    chosen = list(dict.fromkeys(rows.loc[rows["chosen"], "method"]))
    return NOTE + (CHOSEN.format(", ".join(chosen)) if chosen else "")


def picks_on_halves(records: Iterable[Mapping], halves: str) -> list[str]:
    """The same in Markdown for runs on halves of the "classes" or "tasks": by H, the harmonic mean of the values on
    the validation shots of the base half and of the new one."""
    frame = validation_frame(records)
    frame = frame.assign(**split_and_half(frame["split"].astype(str), halves)).dropna(subset="half")
    texts = []
    for names, rows in frame.groupby(SETTING, sort=False):
        numbers = sorted(rows["shots"].unique(), key=shots_order)
        found = {shots: candidates_on_halves(rows[rows["shots"] == shots]) for shots in numbers}
        table = pd.DataFrame([row_of(own, shots) for shots, own in found.items() if own])
        if len(table):
            title = section_title(dict(zip(SETTING, names)))
            heading = f"## {markdown_text(title)}: {PICKED.lower()} for new {halves}"
            note = f"H on base and new {halves}. {note_on(rows)}"
            texts += [heading, markdown(table.rename(columns={"validation": "H on validation"})), markdown_text(note)]
    return texts


def candidates_on_halves(rows: pd.DataFrame) -> list[Candidate]:
    """The methods with values on both halves; their value is H, and its error follows from those of the halves."""
    base, new = ({one.method: one for one in candidates(rows[rows["half"] == half])} for half in ("base", "new"))
    found = []
    for name in base.keys() & new.keys():
        b, n = base[name], new[name]
        total = b.value + n.value or 1.0
        se = 2 * math.hypot(n.value**2 * b.se, b.value**2 * n.se) / total**2
        h = 2 * b.value * n.value / total
        found.append(Candidate(name, h, se, b.n + n.n, b.chosen, b.seconds, b.parameters))
    return sorted(found, key=lambda one: list(base).index(one.method))
