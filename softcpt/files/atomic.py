"""Writing a file completely or not at all.

Temporary files have names that no one else gives, with the process that writes them, also in `compat`, which stands
alone: `.results.json.12.softcpt-tmp`. So those of killed processes are found, and no others.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

TEMPORARY = re.compile(r"\..+\.(\d+)\.softcpt-tmp")


def temporary_of(path: Path) -> Path:
    """The temporary file of this process beside a file."""
    return path.with_name(f".{path.name}.{os.getpid()}.softcpt-tmp")


def remove_left_behind(folder: Path) -> None:
    """Remove the temporary files that processes which no longer exist have left in a folder."""
    for path in folder.glob(".*.softcpt-tmp"):
        found = TEMPORARY.fullmatch(path.name)
        if found and path.is_file() and not _exists(int(found[1])):
            with contextlib.suppress(OSError):
                path.unlink()


def _exists(pid: int) -> bool:
    if os.name == "nt":  # where signal 0 is a Ctrl-C for all processes of a console
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # another user's
    return True


def check_replaceable(path: Path) -> None:
    """Raise OSError for a pipe, a device or a folder in the place of a file that is to be written."""
    if path.exists() and not path.is_file():
        raise OSError(f"{path} cannot be written: it is no regular file")


def write_atomically(path: str | os.PathLike, content: str | bytes, follow: bool = False) -> None:
    """Write a file (text in UTF-8) through a temporary file beside it, so that a failure leaves nothing half-written.

    Args:
        follow: write the file that a symbolic link leads to, where the user names the file. In a folder that may come
            from others, a link would lead to any file of the user's, so it is replaced.

    Raises OSError, with the file and its size, and ValueError for text that UTF-8 cannot hold; an existing file is then
    unchanged. So is what is no regular file: a pipe or device, such as /dev/null, would be replaced by one.
    """
    path = Path(os.path.realpath(path) if follow and os.path.islink(path) else path)
    check_replaceable(path)
    try:
        content = content.encode() if isinstance(content, str) else content
    except UnicodeEncodeError as error:
        around = error.object[max(0, error.start - 40) : error.end + 20]
        raise ValueError(f"{path} cannot be written: a name in it is not in UTF-8: {around!r}") from error
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        what = f"{path} cannot be written ({len(content):,} bytes): {error.strerror or error}"
        raise type(error)(what) from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The temporary file of a file, whose place it takes at the end; after an error it is removed."""
    temporary = temporary_of(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # of a folder that cannot be looked into
            temporary.unlink(missing_ok=True)
