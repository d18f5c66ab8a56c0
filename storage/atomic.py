"""Writing that leaves a whole file or none."""

import os
from pathlib import Path


def write_atomically(path: str | os.PathLike, content: str | bytes) -> None:
    """Write a file, text in UTF-8, through a temporary one beside it, of which a failure leaves nothing behind.

    Raises OSError, naming the file and the space that it needs, where it cannot be written; what was there stays.
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
