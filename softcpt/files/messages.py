"""Helpers for messages: similar names, long lists, and problems that are raised or collected."""

import difflib
import reprlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any


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
