"""The totals of a sweep: how many runs are done and left, and how long those that are left may take."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from softcpt.evaluation.records import record_in
from softcpt.files.texts import counted

from .calls import Step


def totals(steps: Sequence[Step], left: Sequence[Step], missing: Sequence[str]) -> list[str]:
    """Lines on the runs of a sweep, on what is missing, and on the time of the runs that are `left`."""
    done = sum(step.done for step in steps)
    others = len(steps) - done - len(left)
    words = [counted(len(steps), "run"), f"{done:,} done", f"{len(left):,} to start"]
    lines = [", ".join([*words, *[f"{others:,} left to others or not asked for"] * (others > 0)])]
    lines += [f"missing: {line}" for line in missing]
    return [*lines, time_left(steps, left)] if left else lines


def time_left(steps: Iterable[Step], left: Sequence[Step]) -> str:
    """An estimate from the finished runs of the same method, benchmark, shots and half: their mean time of training and
    testing. A run that is trained once per task counts for its number of tasks."""
    wanted = {_kind(step) for step in left}
    seconds = defaultdict(list)
    for step in steps:
        if _kind(step) in wanted and step.done:
            try:
                record = record_in(step.folder)
            except (ValueError, OSError):
                continue
            if record:
                own = (record["train_seconds"] or 0) + record["test_seconds"]
                seconds[_kind(step)].append(own / (len(record["tasks"]) if step.job.method.separate else 1))
    known = [sum(seconds[_kind(step)]) / len(seconds[_kind(step)]) for step in left if seconds.get(_kind(step))]
    unknown = len(left) - len(known)
    if not known:
        return "time left: no finished run to estimate from"
    rest = f"; no finished run to estimate from for the other {unknown:,}" if unknown else ""
    runs = counted(len(known), "run")
    return (
        f"time left: about {_duration(sum(known))} of training and testing, one run after the other, for {runs}{rest}"
    )


def _kind(step: Step) -> tuple:
    return step.job.benchmark, step.job.method.label, step.job.shots, step.job.half


def _duration(seconds: float) -> str:
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} s"
