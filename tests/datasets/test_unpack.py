"""Unpacking: no entry leaves the folder, bombs are refused, and an error leaves nothing behind."""

import io
import os
import stat
import tarfile
import zipfile

import pytest

from datasets.tools import unpack


def tar_with(path, *members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def tgz_with(path, *members):
    tar_with(path, *members, mode="w:gz")


def zip_with(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)


@pytest.mark.parametrize("make", [tar_with, zip_with])
@pytest.mark.parametrize("name", ["../evil.txt", "/tmp/evil.txt", "a/../../evil.txt", "C:/evil.txt", "..\\evil.txt"])
def test_entries_outside_the_folder_are_refused(tmp_path, make, name):
    make(tmp_path / "archive", ("good.txt", b"good"), (name, b"evil"))
    with pytest.raises(unpack.UnsafeArchive, match="points outside the folder"):
        unpack.unpack(str(tmp_path / "archive"), str(tmp_path / "target"))
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]  # nothing was written


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_special_files_are_refused(tmp_path, kind):
    info = tarfile.TarInfo("images")
    info.type, info.linkname = kind, "/etc"
    tar_with(tmp_path / "archive", ("good.txt", b"good"), (info, b""), ("images/passwd", b"evil"))
    with pytest.raises(unpack.UnsafeArchive, match="'images' is a link or a special file"):
        unpack.unpack(str(tmp_path / "archive"), str(tmp_path / "target"))
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    zip_with(tmp_path / "archive", (info, b"/etc"))
    with pytest.raises(unpack.UnsafeArchive, match="'link' is a link or a special file"):
        unpack.unpack(str(tmp_path / "archive"), str(tmp_path / "target"))
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("make", [zip_with, tgz_with])
def test_bombs_are_refused(tmp_path, make):
    make(tmp_path / "archive", ("zeros", bytes(3_000_000)))
    assert (tmp_path / "archive").stat().st_size < 30_000
    with pytest.raises(unpack.UnsafeArchive, match="more than 100 times its size"):
        unpack.unpack(str(tmp_path / "archive"), str(tmp_path / "target"))
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_damaged_archive_is_an_error_and_leaves_nothing(tmp_path):
    for make, name in ((zip_with, "a.zip"), (tgz_with, "a.tgz")):
        make(tmp_path / name, ("noise", os.urandom(50_000)))
        content = bytearray((tmp_path / name).read_bytes())
        content[20_000] ^= 255
        (tmp_path / name).write_bytes(bytes(content) if name == "a.zip" else bytes(content[:30_000]))
        with pytest.raises(ValueError, match="not a complete zip or tar archive"):
            unpack.unpack(str(tmp_path / name), str(tmp_path / "target"))
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match="not a complete zip or tar archive"):
        unpack.unpack(str(tmp_path / "text"), str(tmp_path / "target"))
    zip_with(tmp_path / "a.zip", ("other/file", b"x"))
    with pytest.raises(ValueError, match="no files below images"):
        unpack.unpack(str(tmp_path / "a.zip"), str(tmp_path / "target"), prefix="images")
    assert not (tmp_path / "target").exists()


def test_unpacking_keeps_existing_files(tmp_path):
    (tmp_path / "target/images").mkdir(parents=True)
    (tmp_path / "target/images/mine.txt").write_text("mine")
    zip_with(tmp_path / "a.zip", ("set/images/one.txt", b"1"), ("set/readme", b"r"), ("else/x", b"x"))
    unpack.unpack(str(tmp_path / "a.zip"), str(tmp_path / "target"), prefix="set")
    names = {str(path.relative_to(tmp_path / "target")) for path in (tmp_path / "target").rglob("*") if path.is_file()}
    assert names == {"images/mine.txt", "images/one.txt", "readme"}


@pytest.mark.parametrize("damage", ["cut between two files", "a header damaged"])
def test_half_of_a_tar_is_refused(damage, tmp_path):
    """tarfile itself stops there silently."""
    path = tmp_path / "x.tar"
    tar_with(path, *((name, 512 * name.encode()) for name in "abc"))
    content = bytearray(path.read_bytes())
    if damage == "cut between two files":
        del content[2 * 1024 :]
    else:
        content[2 * 1024 + 150] ^= 1
    path.write_bytes(content)
    with tarfile.open(path) as plain:
        assert plain.getnames() == ["a", "b"]
    with pytest.raises(ValueError, match="x.tar: not a complete zip or tar archive"):
        unpack.unpack(str(path), str(tmp_path / "target"))
    assert not (tmp_path / "target").exists()


def test_huge_names_and_many_empty_entries_are_bombs_too(tmp_path):
    for names in (["x" * 3_000_000], 5_000 * ["x"]):
        tgz_with(tmp_path / "x.tgz", *((name, b"") for name in names))
        with pytest.raises(ValueError, match="the header of an entry says|more than 100 times"):
            unpack.unpack(str(tmp_path / "x.tgz"), str(tmp_path / "target"))


def test_file_that_must_be_a_folder_is_an_error(tmp_path):
    tar_with(tmp_path / "x.tar", ("a", b"1"), ("a/b", b"2"))
    with pytest.raises(unpack.UnsafeArchive, match="x.tar: an entry cannot be written as .*a/b"):
        unpack.unpack(str(tmp_path / "x.tar"), str(tmp_path / "target"))
