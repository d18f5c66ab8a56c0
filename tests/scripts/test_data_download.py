"""scripts/data.py download, from a local server."""

import hashlib
import io
import os
import re
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import layouts
import pytest

from datasets.tools import download, sources
from datasets.tools.sources import SOURCES, Archive, Source


class Server(ThreadingHTTPServer):
    """Serves `files`; the next `breaks` answers end in the middle."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.requests, self.breaks, self.ranges = {}, [], 0, True

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers.get("Range") if self.server.ranges else None
        self.server.requests.append((self.path[1:], asked))
        content = self.server.files.get(self.path[1:])
        if content is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if start >= len(content) and asked:
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Content-Type", "text/html" if content.startswith(b"<html") else "application/octet-stream")
        self.end_headers()
        if self.server.breaks:
            self.server.breaks -= 1
            content = content[: start + (len(content) - start) // 2]
        self.wfile.write(content[start:])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def md5(content):
    return hashlib.md5(content).hexdigest()


def packed(folder, kind, below="", only=None):
    """An archive of a folder's files: "zip", "gz" or "" (plain tar)."""
    buffer = io.BytesIO()
    files = sorted(path for path in folder.rglob(only or "*") if path.is_file())
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            for path in files:
                archive.write(path, below + str(path.relative_to(folder)))
    else:
        with tarfile.open(fileobj=buffer, mode=f"w:{kind}") as archive:
            for path in files:
                archive.add(path, below + str(path.relative_to(folder)))
    return buffer.getvalue()


@pytest.fixture
def pets(server, tmp_path, tmp_path_factory, monkeypatch):
    """Oxford Pets, served in three files as published; the layout."""
    folder = tmp_path_factory.mktemp("published")
    layout = layouts.lay_out("OxfordPets", folder)
    layouts.as_published(monkeypatch, "OxfordPets", layout)
    split = layouts.write_split("OxfordPets", layout, folder).read_bytes()
    server.files = {
        "images.tar.gz": packed(folder / "oxford_pets/images", "gz", "images/"),
        "annotations.zip": packed(folder / "oxford_pets/annotations", "zip", "pets/annotations/"),
        "split.json": split,
    }
    images, annotations = server.files["images.tar.gz"], server.files["annotations.zip"]
    archives = (
        Archive(server.url("images.tar.gz"), gives="images/*.jpg", md5=md5(images)),
        Archive(server.url("annotations.zip"), gives="annotations/*.txt", md5=md5(annotations), prefix="pets"),
        Archive(server.url("split.json"), gives="split_zhou_OxfordPets.json", file="split_zhou_OxfordPets.json"),
    )
    monkeypatch.setitem(SOURCES, "OxfordPets", Source(archives, "Ask the authors."))
    return layout


def test_download_arranges_coops_layout(data, server, pets, tmp_path):
    status, text = data("download", "OxfordPets")
    assert status == 0 and "complete in" in text, text
    folder = tmp_path / "oxford_pets"
    assert sorted(path.name for path in folder.iterdir()) == ["annotations", "images", "split_zhou_OxfordPets.json"]
    status, text = data("check", "OxfordPets", "--workers", 1)
    assert "3 classes" in text and "unreadable" not in text
    asked = len(server.requests)
    assert data("download", "OxfordPets")[0] == 0
    assert len(server.requests) == asked  # nothing is fetched twice


def test_interrupted_download_continues(data, server, pets, tmp_path):
    server.breaks = 2
    assert data("download", "OxfordPets")[0] == 0
    ranges = [asked for name, asked in server.requests if name == "images.tar.gz"]
    assert len(ranges) == 3 and ranges[0] is None and all(ranges[1:])


def test_download_resumes_a_partial_file(server, tmp_path):
    content = os.urandom(3000)
    server.files["file"] = content
    (tmp_path / "file.part").write_bytes(content[:1000])
    download.fetch(server.url("file"), str(tmp_path / "file"), md5(content))
    assert (tmp_path / "file").read_bytes() == content
    assert server.requests == [("file", "bytes=1000-")]
    for name, part, ranges in (
        ("other", b"from another time", True),  # not a prefix of the file, which is fetched anew
        ("third", content[:10], False),  # a server without ranges sends everything
        ("fourth", content + b"too long", True),
    ):
        server.ranges = ranges
        (tmp_path / f"{name}.part").write_bytes(part)
        download.fetch(server.url("file"), str(tmp_path / name), md5(content))
        assert (tmp_path / name).read_bytes() == content


def test_wrong_checksum_is_refused(data, server, pets, tmp_path):
    server.files["images.tar.gz"] += b"changed"
    status, text = data("download", "OxfordPets")
    assert status == 1 and "the MD5 sum is" in text and "Ask the authors." in text
    assert not list((tmp_path / "oxford_pets").glob(".images*"))
    assert not (tmp_path / "oxford_pets/images").exists()
    assert (tmp_path / "oxford_pets/annotations").is_dir()  # the rest is there


def test_web_page_or_404_is_named(data, server, pets, tmp_path):
    server.files["split.json"] = b"<html>quota"
    del server.files["annotations.zip"]
    status, text = data("download", "OxfordPets")
    assert status == 1
    assert "the server sent a web page" in text and "404" in text
    server.files["split.json"] = b"{"
    status, text = data("download", "OxfordPets")
    assert "the downloaded file is not JSON" in text
    assert not (tmp_path / "oxford_pets/split_zhou_OxfordPets.json").exists()


def test_nested_archive_is_unpacked(server, tmp_path, tmp_path_factory, monkeypatch, data):
    folder = tmp_path_factory.mktemp("published")
    layout = layouts.lay_out("Caltech101", folder)
    (folder / "zip").mkdir()
    (folder / "zip/101_ObjectCategories.tar.gz").write_bytes(packed(folder / "caltech-101", "gz"))
    (folder / "zip/Annotations.tar").write_bytes(b"not wanted")
    server.files["caltech-101.zip"] = packed(folder / "zip", "zip", "caltech-101/")
    published = SOURCES["Caltech101"].archives[0]
    archive = Archive(
        server.url("caltech-101.zip"), gives=published.gives, prefix=published.prefix, inner=published.inner
    )
    monkeypatch.setitem(SOURCES, "Caltech101", Source((archive,)))
    assert data("download", "Caltech101", "--keep")[0] == 0
    assert {path.name for path in (tmp_path / "caltech-101").iterdir()} == {"101_ObjectCategories", "caltech-101.zip"}
    assert all((tmp_path / "caltech-101/101_ObjectCategories" / path).is_file() for path in layout.rows)


@pytest.mark.parametrize(("name", "words"), [("StanfordCars", "pytorch/vision/issues/7545"), ("SUN397", "sun397")])
def test_dead_sources_name_alternatives(data, monkeypatch, name, words):
    source = SOURCES[name]
    monkeypatch.setitem(SOURCES, name, Source((), source.by_hand))
    status, text = data("download", name)
    assert status == 1 and "dead" in text and words in text and "docs/datasets.md" in text
    assert source.by_hand.split("Alternatives: ")[1][:20] in text


def test_manual_download_is_explained_once(data):
    status, text = data("download", "Fashion20")
    assert status == 1 and text.count("67c4 (code") <= 1 and text.count("Baidu") == 1


def test_every_data_set_has_a_source():
    for name in layouts.LAYOUTS:
        source = sources.source_of(name)
        assert source.archives or source.by_hand, name
        for archive in source.archives:
            assert archive.url.startswith(("https://", "http://")) and archive.gives
            assert not archive.md5 or re.fullmatch("[0-9a-f]{32}", archive.md5)
