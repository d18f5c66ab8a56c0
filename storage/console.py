"""The terminal, which may not know every character."""

import contextlib
import sys


def print_any_text() -> None:
    """Let stdout and stderr write characters that their encoding lacks, such as ± in ASCII, as escapes (\\xb1).

    Otherwise a table or a class name with such a character would end the command in an error, after its work is done.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            with contextlib.suppress(OSError, ValueError):  # a closed stream, or one that cannot be changed
                stream.reconfigure(errors="backslashreplace")
