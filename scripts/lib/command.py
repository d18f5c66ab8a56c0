"""Expected errors of a command, and Ctrl-C, are one line on stderr.

Commands import this module first, so that Ctrl-C during slow imports shows no traceback either. The process still ends
by the signal, which shells report as exit status 130.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable

from storage.console import print_any_text

Main = Callable[..., "int | None"]


def one_line_errors(status: int, *also: type[Exception]) -> Callable[[Main], Callable[..., int]]:
    """Decorate `main(argv)`: print a ValueError, an OSError or one of `also`, and return `status`."""

    def decorate(main: Main) -> Callable[..., int]:
        @functools.wraps(main)
        def run(argv: list[str] | None = None) -> int:
            try:
                return main(argv) or 0
            except (ValueError, OSError, *also) as error:
                print(f"error: {error}", file=sys.stderr)
                return status

        return run

    return decorate


def report_uncaught(kind: type[BaseException], *error: object) -> None:
    """Print one line for Ctrl-C, and Python's traceback for other errors that nothing caught."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, *error)


sys.excepthook = report_uncaught
print_any_text()
