"""Helpers for messages: similar names, long lists, problems that are raised or collected, and memory that ran out."""

import difflib
import re
import reprlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

# What PyTorch says of memory of the CPU, a GPU and other devices, beside its OutOfMemoryError.
NO_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory|_STATUS_ALLOC_FAILED", re.I)


def out_of_memory(error: BaseException) -> bool:
    """Whether memory of the CPU or of a GPU ran out. PyTorch need not be imported."""
    return isinstance(error, MemoryError) or isinstance(error, RuntimeError) and bool(NO_MEMORY.search(str(error)))


def memory_message(error: BaseException, advice: str = "") -> str:
    """One line for memory that ran out: the sentence that says so, and what to do."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    said = next(filter(NO_MEMORY.search, lines), lines[0])
    return f"out of memory ({said[:200]})" + (f": {advice}" if advice else "")


def nearest(name: object, known: Iterable[str]) -> str:
    """' (did you mean ...?)' with the known name closest to `name`, whose case does not matter, or ''."""
    spelled = {text.lower(): text for text in reversed(list(known))}
    close = difflib.get_close_matches(str(name).lower(), list(spelled), n=1)
    return f" (did you mean {spelled[close[0]]!r}?)" if close else ""


def summary(values: Sequence, limit: int = 5, text: Callable[[Any], str] = repr) -> str:
    """The first `limit` values, as `text` writes them, and the number of the others."""
    more = f" and {len(values) - limit:,} more" if len(values) > limit else ""
    return ", ".join(map(text, values[:limit])) + more


def report(found: Sequence[str], problems: list[str] | None, error: type[Exception] = ValueError) -> None:
    """Raise `error` with all messages, one per line. If there is a list `problems`, extend it instead."""
    if problems is not None:
        problems.extend(found)
    elif found:
        raise error("\n".join(found))


def check_choice(key: str, value: object, legal: Sequence[object]) -> None:
    if value not in legal:
        names = [name for name in map(str, legal) if name]
        raise ValueError(f"{key}: {reprlib.repr(value)} is not legal; one of {', '.join(names)}{nearest(value, names)}")
