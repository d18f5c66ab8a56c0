"""Unpacking archives that are not trusted: nothing is written outside the target, no links, no bombs, no half."""

import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

MAX_RATIO = 100  # unpacked bytes per byte of the archive
CHUNK = 1 << 20
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)


class UnsafeArchive(ValueError):
    """An archive that is refused."""


def unpack(archive: str, target: str, prefix: str = "", inner: str = "") -> None:
    """Unpack a zip or tar file into the folder `target`; what is there already is kept or replaced file by file.

    Args:
        prefix: the folder in the archive whose contents are wanted; everything else is passed over.
        inner: an archive below `prefix` that is unpacked in its place; then nothing else is kept.

    Everything is written beside the target first and moved when it is complete.

    Raises UnsafeArchive for an entry outside the target, a link or another special file, and when more than
    `MAX_RATIO` times the archive's size comes out of it; ValueError for no archive, or nothing below `prefix`.
    """
    temporary = f"{target.rstrip(os.sep)}.{os.getpid()}.tmp"
    try:
        try:
            _write_entries(archive, temporary, prefix)
        except DAMAGED as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of the disk, not of the archive
            raise ValueError(f"{archive}: not a complete zip or tar archive ({error})") from error
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


def _write_entries(archive: str, folder: str, prefix: str) -> None:
    left = MAX_RATIO * max(os.path.getsize(archive), 1)
    written = 0
    for name, source in entries(archive):
        path = safe_path(archive, name, prefix)
        if path is None:
            continue
        path = os.path.join(folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            while chunk := source.read(CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise UnsafeArchive(f"{archive}: more than {MAX_RATIO} times its size comes out of it")
                file.write(chunk)
        written += 1
    if not written:
        raise ValueError(f"{archive}: no files{f' below {prefix}' if prefix else ''}")


def entries(archive: str) -> Iterator[tuple[str, BinaryIO]]:
    """(name, content) of the files of a zip or tar archive, in its order."""
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
    with tarfile.open(archive, "r|*") as file:
        for info in file:
            if info.isdir():
                safe_path(archive, info.name, "")
            elif info.isreg():
                yield info.name, file.extractfile(info)
            else:
                raise UnsafeArchive(f"{archive}: {info.name!r} is a link or a special file")


def safe_path(archive: str, name: str, prefix: str) -> str | None:
    """The path of an entry below `prefix`, None if it lies elsewhere. Raises UnsafeArchive if it leaves the archive."""
    parts = [part for part in name.replace("\\", "/").split("/") if part != "."]
    if name.startswith(("/", "\\")) or ".." in parts or ":" in (parts or [""])[0] or "\0" in name:
        raise UnsafeArchive(f"{archive}: {name!r} points outside the folder")
    wanted = [part for part in prefix.split("/") if part]
    parts = [part for part in parts if part]
    if parts[: len(wanted)] != wanted or len(parts) == len(wanted):
        return None
    return os.path.join(*parts[len(wanted) :])


def merge(source: str, target: str) -> None:
    """Move the contents of a folder into another, folder by folder where they are new."""
    os.makedirs(target, exist_ok=True)
    for name in sorted(os.listdir(source)):
        new, old = os.path.join(source, name), os.path.join(target, name)
        if os.path.isdir(new) and os.path.isdir(old):
            merge(new, old)
        else:
            os.replace(new, old)
