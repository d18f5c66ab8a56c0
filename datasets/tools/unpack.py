"""Unpack untrusted archives: no files outside the target, no links, no decompression bombs, no partial results."""

import bz2
import errno
import gzip
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

MAX_RATIO = 100  # unpacked bytes per byte of the archive
CHUNK = 1 << 20
MOST_HEADER = 1 << 20  # bytes of an entry's name or other metadata
HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
OPENERS = {b"\x1f\x8b\x08": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open, b"\x5d\0\0\x80": lzma.open}
NO_PLACE = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)


class UnsafeArchive(ValueError):
    """An archive is refused."""


def unpack(archive: str, target: str, prefix: str = "", inner: str = "") -> None:
    """Unpack a zip or tar file into the folder `target`. Existing files are kept, or replaced one by one.

    Everything is first written beside the target, and moved once it is complete.

    Args:
        prefix: the folder in the archive to unpack; other entries are skipped.
        inner: an archive below `prefix`, which is unpacked instead.

    Raises UnsafeArchive for an entry outside the target, a link or another special file, and if the content is larger
    than `MAX_RATIO` times the archive; ValueError if it is not an archive, or has nothing below `prefix`.
    """
    temporary = f"{target.rstrip(os.sep)}.{os.getpid()}.tmp"
    try:
        try:
            written = _write_entries(archive, temporary, prefix)
        except UnsafeArchive:
            raise
        except Exception as error:  # the readers raise a dozen types for damaged archives
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                raise  # an error of the disk
            raise ValueError(f"{archive}: not a complete zip or tar archive ({error})") from error
        if not written:
            raise ValueError(f"{archive}: no files{f' below {prefix}' if prefix else ''}")
        if inner:
            nested = os.path.join(temporary, inner)
            if not os.path.isfile(nested):
                raise ValueError(f"{archive}: has no {os.path.join(prefix, inner)}")
            unpack(nested, os.path.join(temporary, "inner"))
            merge(os.path.join(temporary, "inner"), target)
        else:
            merge(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_entries(archive: str, folder: str, prefix: str) -> int:
    """The number of files written."""
    left = MAX_RATIO * max(os.path.getsize(archive), 1)
    written = 0
    for name, source in entries(archive):
        path = safe_path(archive, name, prefix)
        if path is None:
            continue
        with _new_file(os.path.join(folder, path), archive) as file:
            while chunk := source.read(CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise UnsafeArchive(f"{archive}: more than {MAX_RATIO} times its size comes out of it")
                file.write(chunk)
        written += 1
    return written


def _new_file(path: str, archive: str) -> BinaryIO:
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return open(path, "wb")
    except OSError as error:
        if error.errno in NO_PLACE:
            raise UnsafeArchive(f"{archive}: an entry cannot be written as {path} ({error.strerror})") from error
        raise


def entries(archive: str) -> Iterator[tuple[str, BinaryIO]]:
    """(name, content) of the files in a zip or tar archive, in its order."""
    return _zip_entries(archive) if zipfile.is_zipfile(archive) else _tar_entries(archive)


def _zip_entries(archive: str) -> Iterator[tuple[str, BinaryIO]]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise UnsafeArchive(f"{archive}: {info.filename!r} is a link or a special file")
            if info.is_dir():
                safe_path(archive, info.filename, "")
                continue
            with file.open(info) as source:
                yield info.filename, source


def _tar_entries(archive: str) -> Iterator[tuple[str, BinaryIO]]:
    with open(archive, "rb") as raw:
        start = raw.read(10)
        raw.seek(0)
        opener = next((opener for magic, opener in OPENERS.items() if start.startswith(magic)), None)
        source = _Limited(opener(raw) if opener else raw, archive)
        with tarfile.open(fileobj=source, mode="r|", tarinfo=_Entry) as file:  # type: ignore[call-overload]
            for info in file:
                if info.isdir():
                    safe_path(archive, info.name, "")
                elif info.isreg():
                    yield info.name, file.extractfile(info)
                else:
                    raise UnsafeArchive(f"{archive}: {info.name!r} is a link or a special file")
            end = file.offset
            while source.read(CHUNK):  # to the end, where a compressed file has its checksum
                pass
        # An archive ends with a block of zeros, but tarfile also stops at a damaged header and at the end of the file.
        if source.filled > end or source.position < end + tarfile.BLOCKSIZE:
            raise EOFError("the end of a tar is missing: it is cut off or damaged")


class _Limited:
    """A stream that raises UnsafeArchive after `MAX_RATIO` times the archive's size.

    This also limits the number of empty entries, each of which takes half a kilobyte.

    Attributes:
        position: bytes read.
        filled: bytes read up to the last one that is not zero.
    """

    def __init__(self, source: BinaryIO, archive: str) -> None:
        self.source, self.archive = source, archive
        self.limit = MAX_RATIO * os.path.getsize(archive) + MOST_HEADER
        self.position = self.filled = 0

    def read(self, size: int) -> bytes:
        data = self.source.read(size)
        filled = len(data.rstrip(b"\0"))
        self.filled = self.position + filled if filled else self.filled
        self.position += len(data)
        if self.position > self.limit:
            raise UnsafeArchive(f"{self.archive}: more than {MAX_RATIO} times its size comes out of it")
        return data


class _Entry(tarfile.TarInfo):
    """A tar entry that refuses to read huge metadata into memory."""

    def _proc_member(self, file: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size < 0 or (self.type in HEADERS and self.size > MOST_HEADER):
            raise tarfile.ReadError(f"the header of an entry says that it takes {self.size} bytes")
        return super()._proc_member(file)


def safe_path(archive: str, name: str, prefix: str) -> str | None:
    """The path of an entry relative to `prefix`, None if it is elsewhere. Raises UnsafeArchive if it leads outside."""
    parts = [part for part in name.replace("\\", "/").split("/") if part != "."]
    if name.startswith(("/", "\\")) or ".." in parts or ":" in (parts or [""])[0] or "\0" in name:
        raise UnsafeArchive(f"{archive}: {name!r} points outside the folder")
    wanted = [part for part in prefix.split("/") if part]
    parts = [part for part in parts if part]
    if parts[: len(wanted)] != wanted or len(parts) == len(wanted):
        return None
    return os.path.join(*parts[len(wanted) :])


def merge(source: str, target: str) -> None:
    """Move the contents of a folder into another; sub-folders that exist there are merged."""
    os.makedirs(target, exist_ok=True)
    for name in sorted(os.listdir(source)):
        new, old = os.path.join(source, name), os.path.join(target, name)
        if os.path.isdir(new) and os.path.isdir(old):
            merge(new, old)
        else:
            os.replace(new, old)
