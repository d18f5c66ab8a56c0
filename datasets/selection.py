"""DATASET.TASKS: which tasks of a benchmark or of users' own folders a run has."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from softcpt.files.messages import nearest, summary
from softcpt.files.texts import HALVES, counted, joined_names, names_of, nfc
from softcpt.tasks import half_of

if TYPE_CHECKING:
    from .multitask import TaskSpec

logger = logging.getLogger(__name__)


def select_specs(specs: Sequence["TaskSpec"], which: str | Sequence[str]) -> tuple["TaskSpec", ...]:
    r"""The tasks that a value of `DATASET.TASKS` selects, in the order of `specs`.

    "all", "base" and "new" are all tasks, their first half, rounded up, and the rest. Anything else names tasks or data
    sets, as a list or as a text separated by commas, see `joined_names`: "a\, b" is one name, and "base," a task that
    is called base. Raises ValueError for an unknown name, and for "base" or "new" if a task is called so.
    """
    names = [spec.task_name for spec in specs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"tasks must have different names, found twice: {summary(twice)}")
    known = [*names, *(spec.dataset for spec in specs)]
    if isinstance(which, str) and which in HALVES:
        selected = half_of(specs, which)
        if which in known:
            _tell_apart(which, joined_names([spec.task_name for spec in selected]))
    else:
        wanted = [nfc(name) for name in (names_of(which) if isinstance(which, str) else which)]
        for name in wanted:
            if name not in known:
                use = f"use all, base, new or any of {', '.join(names)}"
                raise ValueError(f"DATASET.TASKS: no task {name!r}{nearest(name, known)}; {use}")
        selected = [spec for spec, name in zip(specs, names) if name in wanted or spec.dataset in wanted]
    if not selected:
        raise ValueError(f"DATASET.TASKS is {which!r}, which selects none of {counted(len(specs), 'task')}")
    return tuple(selected)


def _tell_apart(word: str, half: str) -> None:
    """Say how to name the task that is called "base" or "new" like a half, whose tasks are `half`, or "all"."""
    if word != "all":
        raise ValueError(
            f"DATASET.TASKS is {word!r}, a half of the tasks and also the name of a task: write '{word},' for the "
            f"task, and {half!r} for the half"
        )
    logger.warning("DATASET.TASKS all selects every task; 'all,' selects the one that is called all")
