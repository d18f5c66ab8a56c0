"""Unpack untrusted archives: no files outside the target, no links, no decompression bombs, no partial results."""

import errno
import os
import shutil
import stat
import tarfile
import zipfile

MAX_RATIO = 100  # unpacked bytes per byte of the archive
CHUNK = 1 << 20
MOST_HEADER = 1 << 20  # bytes of an entry's name or other metadata
GNU_HEADERS = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
HEADERS = (*GNU_HEADERS, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
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
    write = _write_zip if zipfile.is_zipfile(archive) else _write_tar
    try:
        try:
            write(archive, temporary, prefix)
        except UnsafeArchive:
            raise
        except Exception as error:  # the readers raise a dozen types for damaged archives
            number = error.errno if isinstance(error, OSError) else None
            if number in NO_PLACE:
                what = f"an entry cannot be written as {error.filename} ({error.strerror})"  # type: ignore[attr-defined]
                raise UnsafeArchive(f"{archive}: {what}") from error
            if number not in (None, errno.EINVAL):
                raise  # an error of the disk
            reason = str(error).partition(":\n")[0]  # of tarfile, which then lists what it has tried
            raise ValueError(f"{archive}: not a complete zip or tar archive ({reason})") from error
        if not os.path.isdir(temporary):
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


def _write_zip(archive: str, folder: str, prefix: str) -> None:
    """Write the files of a zip below `prefix` into a folder, at the end of which zipfile compares their checksums."""
    limit = MAX_RATIO * os.path.getsize(archive)
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            plain = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)
            limit -= info.file_size  # zipfile writes no more
            path = safe_path(archive, info.filename, plain, limit, prefix)
            if path and not info.is_dir():
                info.filename = path
                file.extract(info, folder)


def _write_tar(archive: str, folder: str, prefix: str) -> None:
    """Write the files of a tar, compressed or not, below `prefix` into a folder.

    A tar ends with a block of zeros, but tarfile also stops at a damaged header and where the file is cut off. Reading
    on to the end compares the checksum of a compressed file, too.
    """
    limit = MAX_RATIO * os.path.getsize(archive) + MOST_HEADER

    def kept(info: tarfile.TarInfo, place: str) -> tarfile.TarInfo | None:
        nonlocal limit
        limit -= info.size if info.issparse() else 0
        path = safe_path(archive, info.name, info.isreg() or info.isdir(), limit - file.offset, prefix)
        file_of_now = info.replace(name=path or "", mtime=None, mode=None, deep=False)  # type: ignore[arg-type]
        return tarfile.data_filter(file_of_now, place) if path and info.isreg() else None

    with tarfile.open(archive, tarinfo=_Entry) as file:
        file.extractall(folder, filter=kept)
        source, size = file.fileobj, 0
        assert source is not None
        source.seek(file.offset)
        while data := source.read(CHUNK):
            size += len(data)
            _check_size(archive, limit - file.offset - size)
            if data.strip(b"\0"):
                size = 0
                break
        if size < tarfile.BLOCKSIZE:
            raise EOFError("the end of a tar is missing: it is cut off or damaged")


class _Entry(tarfile.TarInfo):
    """A tar entry that refuses to read huge metadata into memory."""

    def _proc_member(self, file: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size < 0 or (self.type in HEADERS and self.size > MOST_HEADER):
            raise UnsafeArchive(f"{file.name!r}: the header of an entry says that it takes {self.size} bytes")
        return super()._proc_member(file)  # type: ignore[misc]


def safe_path(archive: str, name: str, plain: bool, left: int, prefix: str) -> str | None:
    """The path of an entry relative to `prefix`, None if it is elsewhere.

    Raises UnsafeArchive if it leads outside, is not a `plain` file or folder, or exceeds the bytes that are `left`.
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if name.startswith(("/", "\\")) or ".." in parts or ":" in (parts or [""])[0] or "\0" in name:
        raise UnsafeArchive(f"{archive}: {name!r} points outside the folder")
    if not plain:
        raise UnsafeArchive(f"{archive}: {name!r} is a link or a special file")
    _check_size(archive, left)
    wanted = [part for part in prefix.split("/") if part]
    return os.path.join("", *parts[len(wanted) :]) if parts[: len(wanted)] == wanted else None


def _check_size(archive: str, left: int) -> None:
    if left < 0:
        raise UnsafeArchive(f"{archive}: more than {MAX_RATIO} times its size comes out of it")


def merge(source: str, target: str) -> None:
    """Move the contents of a folder into another; sub-folders that exist there are merged."""
    os.makedirs(target, exist_ok=True)
    for name in sorted(os.listdir(source)):
        new, old = os.path.join(source, name), os.path.join(target, name)
        if os.path.isdir(new) and os.path.isdir(old):
            merge(new, old)
        else:
            os.replace(new, old)
