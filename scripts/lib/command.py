"""Expected errors of a command, and Ctrl-C, are one line on stderr.

Commands import this module first, so that Ctrl-C during slow imports shows no traceback either. The process still ends
by the signal, which shells report as exit status 130. A reader that has read enough, as in `| head`, ends a command
without a word and with the status of other tools, 141.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import sys
from collections.abc import Callable

from storage.console import print_any_text
from storage.texts import plain

CLOSED_PIPE = 141  # 128 + SIGPIPE
LINE_BREAK = "\n"  # of messages in several lines

Main = Callable[..., "int | None"]


def one_line_errors(status: int, *also: type[Exception]) -> Callable[[Main], Callable[..., int]]:
    """Decorate `main(argv)`: print a ValueError, an OSError or one of `also`, and return `status`."""

    def decorate(main: Main) -> Callable[..., int]:
        @functools.wraps(main)
        def run(argv: list[str] | None = None) -> int:
            try:
                status_of_main = main(argv) or 0
                sys.stdout.flush()
                return status_of_main
            except BrokenPipeError:
                discard_output()
                return CLOSED_PIPE
            except (ValueError, OSError, *also) as error:
                print(f"error: {plain(error, keep=LINE_BREAK)}", file=sys.stderr)
                return status

        return run

    return decorate


def discard_output() -> None:
    """Send what is still printed to nowhere: nobody reads it, and Python would complain when it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def flush_at_exit() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
    except (OSError, ValueError, AttributeError):
        pass  # Python reports them itself


def report_uncaught(kind: type[BaseException], *error: object) -> None:
    """Print one line for Ctrl-C, nothing for a closed pipe, and Python's traceback for other errors."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    elif issubclass(kind, BrokenPipeError):
        discard_output()
    else:
        sys.__excepthook__(kind, *error)


sys.excepthook = report_uncaught
print_any_text()
atexit.register(flush_at_exit)
