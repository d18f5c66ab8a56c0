"""Writing a file completely or not at all."""

import os
from pathlib import Path


def write_atomically(path: str | os.PathLike, content: str | bytes) -> None:
    """Write a file (text in UTF-8) through a temporary file beside it, so that a failure leaves nothing half-written.

    Raises OSError, with the file and its size; an existing file is then unchanged.
    """
    path = Path(path)
    content = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        what = f"{path} cannot be written ({len(content):,} bytes): {error.strerror or error}"
        raise type(error)(what) from error
    finally:
        temporary.unlink(missing_ok=True)
