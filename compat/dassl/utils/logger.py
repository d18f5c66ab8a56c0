"""Console output that is also written to a file."""

import contextlib
import logging
import os
import sys
import time
from typing import Any

from .tools import mkdir_if_missing


class Logger:
    """Replaces `sys.stdout` and also writes to the file `fpath`, line by line, so that a kill loses nothing.

    If the file can no longer be written, as on a full disk, the log ends there, with a warning on stderr. If nobody
    reads the console any more, as in `| head`, all goes to the file alone.
    """

    def __init__(self, fpath: str) -> None:
        self.console = sys.stdout
        self.fpath = fpath
        mkdir_if_missing(os.path.dirname(fpath))
        self.file = open(fpath, "w", encoding="utf-8", buffering=1)

    def write(self, msg: str) -> int:
        self._in_file("write", msg)
        self._on_console("write", msg)
        return len(msg)

    def flush(self) -> None:
        self._on_console("flush")
        self._in_file("flush")

    def _on_console(self, method: str, *args: str) -> None:
        try:
            getattr(self.console, method)(*args)
        except BrokenPipeError:
            nowhere = open(os.devnull, "w", encoding="utf-8")
            with contextlib.suppress(OSError, ValueError, AttributeError):  # what it still holds is written, too
                os.dup2(nowhere.fileno(), self.console.fileno())
            self.console = nowhere
            print(f"warning: nobody reads the output any more; it is in {self.fpath} alone", file=sys.stderr)

    def close(self) -> None:
        """Close the file; the console is not ours to close."""
        if self.file is not None:
            with contextlib.suppress(OSError):  # close() writes what is buffered
                self.file.close()
            self.file = None

    def _in_file(self, verb: str, *args: str) -> None:
        if self.file is None:
            return
        try:
            getattr(self.file, verb)(*args)
        except OSError as error:
            self.close()
            print(f"warning: {self.fpath} cannot be written, it ends here: {error.strerror or error}", file=sys.stderr)

    def __getattr__(self, name: str) -> Any:
        if name == "console":  # not set yet: __init__ failed
            raise AttributeError(name)
        return getattr(self.console, name)  # isatty, encoding, fileno, ...


class _StdoutHandler(logging.Handler):
    """Prints records to the current `sys.stdout`, and so into log.txt."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record))


def setup_logger(output: str | None = None) -> None:
    """Copy what is printed or logged from now on to `output`: a .txt or .log file, or a folder for log.txt.

    An existing log is kept, and the name of the new one ends in the time. If nothing has configured `logging` yet,
    records from level INFO on are printed, so that the log has them.
    """
    if output is None:
        return
    fpath = output if output.endswith((".txt", ".log")) else os.path.join(output, "log.txt")
    if os.path.lexists(fpath):
        fpath += time.strftime("-%Y-%m-%d-%H-%M-%S")
    if isinstance(sys.stdout, Logger):  # a second run in one process must not write into the first one's log
        previous, sys.stdout = sys.stdout, sys.stdout.console
        previous.close()
    sys.stdout = Logger(fpath)
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(_StdoutHandler())
        root.setLevel(logging.INFO)
