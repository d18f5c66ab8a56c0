"""Console output that is also written to a file."""

import contextlib
import logging
import os
import sys
import time
from typing import Any

from .tools import mkdir_if_missing

__all__ = ["Logger", "setup_logger"]


class Logger:
    """A stand-in for `sys.stdout` that also writes to the file `fpath`, line by line, so that a kill loses nothing.

    Where the file can no longer be written, as on a full disk, it ends there, with a warning on stderr.
    """

    def __init__(self, fpath: str | None = None) -> None:
        self.console = sys.stdout
        self.file = None
        self.fpath = fpath
        if fpath is not None:
            mkdir_if_missing(os.path.dirname(fpath))
            self.file = open(fpath, "w", encoding="utf-8", buffering=1)

    def __enter__(self) -> "Logger":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def write(self, msg: str) -> int:
        if self.file is not None:
            try:
                self.file.write(msg)
            except OSError as error:
                self._give_up(error)
        return self.console.write(msg)

    def _give_up(self, error: OSError) -> None:
        file, self.file = self.file, None
        with contextlib.suppress(OSError):  # it tries once more to write what it holds
            file.close()
        print(f"warning: {self.fpath} cannot be written, it ends here: {error.strerror or error}", file=sys.stderr)

    def flush(self) -> None:
        self.console.flush()
        if self.file is not None:
            try:
                self.file.flush()
            except OSError as error:
                self._give_up(error)

    def close(self) -> None:
        """Close the file; the console is not ours to close."""
        if self.file is not None:
            with contextlib.suppress(OSError):
                self.file.close()
            self.file = None

    def __getattr__(self, name: str) -> Any:
        if name == "console":  # not set yet: __init__ failed
            raise AttributeError(name)
        return getattr(self.console, name)  # isatty, encoding, fileno, ...


class _StdoutHandler(logging.Handler):
    """Sends log records to whatever `sys.stdout` is at that moment, and so into log.txt."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record))


def setup_logger(output: str | None = None) -> None:
    """Copy everything printed or logged from now on to `output`, a .txt/.log file or a folder for log.txt.

    An existing log is kept: the new one gets the time appended to its name. When nothing has configured `logging`
    yet, records from level INFO go to stdout, so that they are in the log as well.
    """
    if output is None:
        return
    fpath = output if output.endswith((".txt", ".log")) else os.path.join(output, "log.txt")
    if os.path.exists(fpath):
        fpath += time.strftime("-%Y-%m-%d-%H-%M-%S")
    if isinstance(sys.stdout, Logger):  # a second run in one process must not write into the first one's log
        previous, sys.stdout = sys.stdout, sys.stdout.console
        previous.close()
    sys.stdout = Logger(fpath)
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(_StdoutHandler())
        root.setLevel(logging.INFO)
