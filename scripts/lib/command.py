"""How a command ends: an error is one line on stderr, and so is Ctrl-C.

Commands import it before what is slow to import, so that Ctrl-C in the first seconds shows no traceback. The process
then still ends by the signal, which a shell reports as exit status 130.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable

Main = Callable[..., "int | None"]


def one_line_errors(status: int, *also: type[Exception]) -> Callable[[Main], Callable[..., int]]:
    """Decorate `main(argv)`: a ValueError, an OSError or one of `also` is printed, and `status` returned."""

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
    """Python's report of an error that nothing caught, but for Ctrl-C."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, *error)


sys.excepthook = report_uncaught
