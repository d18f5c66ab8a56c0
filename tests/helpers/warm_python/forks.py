"""The life of a forked process that stands for a command."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn


def live(body: Callable[..., object], *args: Any) -> NoReturn:
    """Run `body` and end this process as Python ends after a script, but for the half second in which the interpreter
    frees all modules: that would copy every page of memory that the fork shares with its parent."""
    number = 0
    try:
        try:
            body(*args)
        finally:
            threading._shutdown()  # waits for the threads that are no daemons
            atexit._run_exitfuncs()
        status = 0
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            status = end.code or 0
        else:
            print(end.code, file=sys.stderr)
            status = 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        status = 1
        if isinstance(error, KeyboardInterrupt):
            number = signal.SIGINT
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            status = status or 120  # as Python does
    if number:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(status & 0xFF)
