"""The calls of train.py that a sweep makes: selecting them (--only), and the state of each on disk."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from softcpt.evaluation.predictions import merge_predictions
from softcpt.evaluation.records import FILE_NAME, merge_tasks, write_record
from softcpt.files import RUN_FILES, describe, holder, write_atomically

from .failures import failure_of, log_of
from .jobs import TASKS_FOLDER, Job
from .methods import did_you_mean, task_folders

STATES = ("done", "running", "queued", "cut off", "failed", "to do")
KEYS = ("benchmark", "method", "shots", "seed", "half", "task")  # of --only


@dataclass(frozen=True, eq=False)
class Step:
    """One call of train.py: a job, or its part on one task."""

    job: Job
    data: str
    out: str
    task: str = ""
    task_folder: str = ""
    others: Mapping[str, str] = field(default_factory=dict)  # {run folder: why its results are not this step's}

    @cached_property
    def folder(self) -> Path:
        return self.job.folder(self.out, self.task_folder)

    def parts(self, tasks: Sequence[str]) -> list["Step"]:
        """One step per task."""
        return [replace(self, task=task, task_folder=name) for task, name in task_folders(tasks).items()]

    @property
    def arguments(self) -> list[str]:
        return self.job.arguments(self.data, self.out, self.task, self.task_folder)

    @property
    def finished(self) -> bool:
        """Whether there are results in its folder."""
        return (self.folder / FILE_NAME).is_file()

    @property
    def other(self) -> str:
        """Why these are the results of another run; "" if they are its own."""
        return self.others.get(str(self.folder), "") if self.finished else ""

    @property
    def done(self) -> bool:
        return self.finished and not self.other

    @property
    def loads(self) -> bool:
        """Whether it evaluates what another step trains."""
        return self.job.trained != self.job

    @property
    def is_trained(self) -> bool:
        """Whether the run that it evaluates is done."""
        return replace(self, job=self.job.trained).done

    @cached_property
    def values(self) -> dict[str, set[str]]:
        """{key of --only: the values that select this step}."""
        method = self.job.method
        texts = {
            "benchmark": (self.job.benchmark,),
            "method": (method.label, method.trainer),
            "shots": (str(self.job.shots),),
            "seed": (str(self.job.seed),),
            "half": (self.job.half,),
            "task": (self.task, self.task_folder),
        }
        return {key: set(filter(None, values)) for key, values in texts.items()}

    @property
    def job_note(self) -> Path:
        """The file beside the run folder that holds the id of its SLURM job."""
        return self.folder.with_name(f"{self.folder.name}.job")

    def note_job(self, job_id: str) -> None:
        self.job_note.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.job_note, job_id)

    def job_id(self) -> str:
        return self.job_note.read_text(encoding="utf-8").strip() if self.job_note.is_file() else ""

    def clear(self) -> None:
        """Remove the files that are beside the run folder during the run."""
        self.job_note.unlink(missing_ok=True)
        log_of(self.folder).unlink(missing_ok=True)

    def __str__(self) -> str:
        return f"{self.job}" + (f", task {self.task}" if self.task else "")


def steps_of(
    job: Job,
    data: str,
    out: str,
    tasks_of: Callable[[str], Sequence[str]],
    others: Mapping[str, str] | None = None,
    each: bool = False,
) -> list[Step]:
    """The calls of train.py that a job needs: one, or one per task for a method that is trained so.

    Args:
        tasks_of: gives the tasks of a benchmark, which may have to be read from the data.
        each: also a run that `is_merged`, which is otherwise one step and does without the list of its tasks, has a
            step per task.
    """
    whole = Step(job, data, out, others={} if others is None else others)
    if not job.method.separate or (is_merged(whole.folder) and not each):
        return [whole]
    return whole.parts(tasks_of(job.benchmark))


def is_merged(folder: Path) -> bool:
    """Whether a run that is trained once per task has a record that is as new as those of its tasks."""
    record = folder / FILE_NAME
    parts = folder.glob(f"{TASKS_FOLDER}/*/{FILE_NAME}")
    return record.is_file() and all(part.stat().st_mtime <= record.stat().st_mtime for part in parts)


def merge_folder(folder: Path, names: Sequence[str], selected: str = "all") -> dict:
    """Merge the results.json and predictions of a run's tasks into those of the run, and return the record.
    `selected`: see `selected_tasks`.

    Raises FileNotFoundError if one is missing.
    """
    parts = [folder / TASKS_FOLDER / name for name in task_folders(names).values()]
    record = merge_tasks([json.loads((part / FILE_NAME).read_text(encoding="utf-8")) for part in parts], selected)
    merge_predictions(folder, parts)
    write_record(folder / FILE_NAME, record)
    return record


# -- selecting them --------------------------------------------------------------------------------------------------


def read_only(texts: Iterable[str]) -> dict[str, list[str]]:
    """{key: values} of texts like "method=SoftCPT,shots=16"; a key that occurs twice selects both values.

    Raises ValueError for an unknown key.
    """
    wanted: dict[str, list[str]] = {}
    for part in (part for text in texts for part in re.split(r",(?=\w+=)", text)):
        key, equals, value = part.partition("=")
        if not equals or key not in KEYS:
            use = f"use KEY=VALUE[,KEY=VALUE] with the keys {', '.join(KEYS)}"
            raise ValueError(f"--only {part}: {use}{did_you_mean(key, KEYS)}")
        wanted.setdefault(key, []).append(value)
    return wanted


def select(steps: Sequence[Step], wanted: Mapping[str, Sequence[str]]) -> list[Step]:
    """The steps with these values. Raises ValueError, with the legal values, for a value that no step has."""
    if not wanted:
        return list(steps)
    for key, values in wanted.items():
        known = {text for step in steps for text in step.values[key]}
        for value in values:
            if value not in known:
                hint = "" if value.isdigit() else did_you_mean(value, known)
                legal = ", ".join(sorted(known, key=lambda text: (len(text), text))) or "nothing in this sweep"
                raise ValueError(f"--only {key}={value}: one of {legal}{hint}")
    chosen = [step for step in steps if all(step.values[key] & set(values) for key, values in wanted.items())]
    if not chosen:
        asked = ",".join(f"{key}={value}" for key, values in wanted.items() for value in values)
        raise ValueError(f"--only {asked}: no run of this sweep has all of these")
    return chosen


# -- their states ----------------------------------------------------------------------------------------------------


def state_of(step: Step, queue: Mapping[str, str] | None = None) -> tuple[str, str]:
    """The state of a step, one of STATES, and its details or "". `queue` holds SLURM's unfinished jobs, {id: state}."""
    if step.done:
        return "done", ""
    if step.other:
        return "failed", step.other
    owner = holder(step.folder)
    if owner:
        return "running", describe(owner)
    job = step.job_id()
    if job in (queue or {}):
        return "queued", f"SLURM job {job}"
    what, lines = failure_of(step.folder, 1)
    if what:
        return "failed", ": ".join([what, *lines])
    return ("cut off" if any((step.folder / name).exists() for name in RUN_FILES) else "to do"), ""


def status_report(steps: Sequence[Step], queue: Mapping[str, str] | None = None) -> str:
    """A table with the number of runs per method and state, and a list of the runs that are under way or failed."""
    from tabulate import tabulate

    states = {step: state_of(step, queue) for step in steps}
    several = len({step.job.benchmark for step in steps}) > 1
    rows: dict[tuple[str, ...], Counter] = defaultdict(Counter)
    for step, (state, _) in states.items():
        rows[(*[step.job.benchmark] * several, step.job.method.label)][state] += 1
    total = sum(rows.values(), Counter())
    table = [[*name, *(count[state] or "" for state in STATES)] for name, count in rows.items()]
    table.append(["all", *[""] * several, *(total[state] for state in STATES)])
    lines = [tabulate(table, [*["benchmark"] * several, "method", *STATES], tablefmt="github")]
    for state in ("running", "queued", "cut off", "failed"):
        own = [(step, detail) for step, (of, detail) in states.items() if of == state]
        lines += [f"\n{state}:"] if own else []
        for step, detail in own:
            name = f"{step.job.benchmark}, {step}" if several else str(step)
            lines.append(f"  {name}" + (f": {detail}" if detail else ""))
        lines += ["  All output of a failed run is in failure.txt in its folder."] if own and state == "failed" else []
    return "\n".join(lines)
