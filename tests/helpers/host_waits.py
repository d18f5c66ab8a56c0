"""Where the host waits for the device of second_device.py, and how often in a training step."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
OWN = ("second_device.py", "second_autocast.py", "host_waits.py")


class Wait(NamedTuple):
    """`kind` is "read", of a value or a size, or "copy", to the device, unless it is non-blocking."""

    kind: str
    operation: str
    place: str  # file:line in this project, "" if no file of it asked


recorders: list[list[Wait]] = []


@contextlib.contextmanager
def recorded() -> Iterator[list[Wait]]:
    """A list to which every wait within this context is added."""
    found: list[Wait] = []
    recorders.append(found)
    try:
        yield found
    finally:
        recorders[:] = [recorder for recorder in recorders if recorder is not found]


def note(kind: str, operation: str) -> None:
    """Tell those who record of a wait."""
    if recorders:
        wait = Wait(kind, operation.removeprefix("aten::"), _place())
        for recorder in recorders:
            recorder.append(wait)


def _place() -> str:
    """The innermost line of this project that is running, beside this device's own."""
    frame = sys._getframe(1)
    while frame is not None:
        file = _inside(frame.f_code.co_filename)
        if file:
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


@functools.cache
def _inside(file: str) -> str:
    path = Path(file)
    inside = path.is_absolute() and path.is_relative_to(ROOT) and "site-packages" not in path.parts
    return path.relative_to(ROOT).as_posix() if inside and path.name not in OWN else ""


@contextlib.contextmanager
def per_step(trainer: type) -> Iterator[Counter[Wait]]:
    """Waits per training step of the runs of a class of trainers within this context, with what Dassl's loop does
    around a step, but without validation, checkpoints and tests. They are there at the end of the context."""
    counts: Counter[Wait] = Counter()
    steps, found, run_epoch = [], [], trainer.run_epoch

    def recorded_epoch(self):
        with recorded() as waits:
            run_epoch(self)
        found.extend(waits)
        steps.append(self.num_batches)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "run_epoch", recorded_epoch)
        yield counts
    for wait, number in Counter(found).items():
        counts[wait] = number / sum(steps)


def total(counts: Counter[Wait], kind: str) -> float:
    return sum(number for wait, number in counts.items() if wait.kind == kind)


def table(counts: Counter[Wait]) -> str:
    """Lines of "waits per step, kind, operation, file:line", the most first."""
    lines = [f"{number:8.2f}  {wait.kind}  {wait.operation:28} {wait.place}" for wait, number in counts.most_common()]
    return "\n".join(lines)
