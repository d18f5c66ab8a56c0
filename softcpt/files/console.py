"""What a command prints: expected errors, Ctrl-C and a closed pipe in one line or none, and any character on any
terminal."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import TracebackType

from .messages import memory_message, out_of_memory
from .texts import plain

CLOSED_PIPE = 141  # 128 + SIGPIPE
LINE_BREAK = "\n"  # of messages in several lines
interrupted: list[int] = []  # this process, once Ctrl-C ends it

Main = Callable[..., "int | None"]


def one_line_errors(status: int, *also: type[Exception]) -> Callable[[Main], Callable[..., int]]:
    """Decorate `main(argv)`: print a ValueError, an OSError, one of `also`, or that memory ran out; return `status`."""

    expected: tuple[type[Exception], ...] = (ValueError, OSError, *also)

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
            except expected as error:
                print(f"error: {plain(error, keep=LINE_BREAK)}", file=sys.stderr)
                return status
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                print(f"error: {plain(memory_message(error))}", file=sys.stderr)
                return status

        return run

    return decorate


def discard_output() -> None:
    """Send what is still printed to nowhere: nobody reads it, and Python would complain when it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def interrupt(*_: object) -> None:
    """A handler of Ctrl-C: the first one raises KeyboardInterrupt, another one, while the command stops, ends the
    process at once. Python would print a traceback of what stops."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    raise KeyboardInterrupt


def end() -> None:
    """Flush the output at exit, and after an uncaught Ctrl-C end by its signal. Python ends by it only if nothing that
    runs at exit evaluates a text, as PyTorch does."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
    except (OSError, ValueError, AttributeError):
        pass  # Python reports them itself
    if os.getpid() in interrupted:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


def report_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Print one line for Ctrl-C, nothing for a closed pipe, and Python's traceback for other errors."""
    if issubclass(kind, KeyboardInterrupt):
        interrupted.append(os.getpid())
        print("interrupted", file=sys.stderr)
    elif issubclass(kind, BrokenPipeError):
        discard_output()
    else:
        sys.__excepthook__(kind, error, traceback)


def print_any_text() -> None:
    """Let stdout and stderr write characters that their encoding lacks, such as ± in ASCII, as escapes (\\xb1).

    Otherwise a table or a class name with such a character would end the command in an error, after its work is done.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            with contextlib.suppress(OSError, ValueError):  # a closed stream, or one that cannot be changed
                stream.reconfigure(errors="backslashreplace")


def set_up() -> None:
    """Prepare this process to be a command: uncaught Ctrl-C is one line, a closed pipe none, and all text prints."""
    sys.excepthook = report_uncaught
    print_any_text()
    atexit.register(end)  # first, so that it runs last
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored
        signal.signal(signal.SIGINT, interrupt)
