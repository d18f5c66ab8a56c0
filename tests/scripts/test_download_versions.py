"""Downloads without a checksum: answers that are cut off, and files that change between two parts."""

import hashlib
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from datasets.tools import download

OLD, NEW = b"old" * 1000, b"new!" * 1000


class Handler(BaseHTTPRequestHandler):
    """Serves `server.content` in the way `server.how`, cut off `server.cuts` times."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.asked.append((asked, self.headers.get("If-Range")))
        if self.path in server.moved:
            self.send_response(302)
            self.send_header("Location", server.moved[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = server.content
        cut, server.cuts = server.cuts > 0, server.cuts - 1  # before an answer, after which the client may ask again
        same = self.headers.get("If-Range") in (None, server.version) or server.knows_no_if_range
        start = int(asked[6:-1]) if asked and same else 0
        self.send_response(206 if start or server.partial else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if server.version:
            self.send_header("ETag" if '"' in server.version else "Last-Modified", server.version)
        if server.how == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        elif server.how == "length":
            self.send_header("Content-Length", str(len(content) - start))
        for header in server.more:
            self.send_header(*header)
        self.send_header("Connection", "close")
        self.end_headers()
        sent = content[start : len(content) // 2] if cut else content[start:]
        if server.how == "chunked":
            sent = b"%x\r\n%s\r\n" % (len(sent), sent) + (b"" if cut else b"0\r\n\r\n")
        self.wfile.write(sent)
        self.close_connection = True
        if cut and server.then is not None:
            server.content, server.version = server.then

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.how, server.cuts, server.asked = OLD, "length", 0, []
    server.more, server.partial, server.moved = [], False, {}
    server.version, server.then, server.knows_no_if_range = "", None, False
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_port}/file"
    yield server
    server.shutdown()
    server.server_close()


def fetched(server, tmp_path):
    download.fetch(server.url, str(tmp_path / "file"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
    return (tmp_path / "file").read_bytes()


@pytest.mark.parametrize("how", ["length", "chunked"])
def test_answer_that_is_cut_off_is_asked_for_again(how, server, tmp_path):
    server.how, server.cuts = how, 2
    assert fetched(server, tmp_path) == OLD
    assert [asked for asked, _ in server.asked] == [None, None, None]  # nothing tells whether the file is the same


@pytest.mark.parametrize("cuts", [0, 1])
def test_file_that_nothing_tells_to_be_whole_is_refused(cuts, server, tmp_path):
    server.how, server.cuts = "until the end", cuts
    with pytest.raises(download.DownloadError, match="does not say how long the file is, and no MD5 sum is known"):
        download.fetch(server.url, str(tmp_path / "file"))
    assert not (tmp_path / "file").exists()
    download.fetch(server.url, str(tmp_path / "file"), hashlib.md5(OLD).hexdigest())
    assert (tmp_path / "file").read_bytes() == OLD


@pytest.mark.parametrize("version", ['"a1"', "Mon, 30 Nov 2026 10:00:00 GMT"])
def test_same_version_is_resumed(version, server, tmp_path):
    server.version, server.cuts = version, 1
    assert fetched(server, tmp_path) == OLD
    assert server.asked == [(None, None), ("bytes=1500-", version)]


@pytest.mark.parametrize("knows_no_if_range", [False, True])
@pytest.mark.parametrize(
    "before, after", [('"a1"', '"a2"'), ('"a1"', "Mon, 30 Nov 2026 10:00:00 GMT"), ("", '"a2"'), ('W/"x"', 'W/"x"')]
)
def test_versions_are_not_mixed(before, after, knows_no_if_range, server, tmp_path):
    server.version, server.cuts, server.then = before, 1, (NEW, after)
    server.knows_no_if_range = knows_no_if_range
    assert fetched(server, tmp_path) == NEW


def test_part_of_another_address_is_not_resumed(server, tmp_path):
    server.version = '"a1"'
    (tmp_path / "file.part").write_bytes(NEW[:100])
    (tmp_path / "file.part.version").write_text('http://elsewhere/file\n"a1"\n')
    assert fetched(server, tmp_path) == OLD


@pytest.mark.parametrize(
    "how, partial, header, message",
    [
        ("length", True, ("Content-Range", "bytes 0-2999/9000"), "another range than requested"),
        ("length", True, ("Content-Range", "bytes 5-9/9000"), "another range than requested"),
        ("length", True, ("X", ""), "another range than requested"),
        ("length", False, ("Content-Encoding", "gzip"), r"the server sent it packed \(gzip\)"),
        ("none", False, ("Content-Length", "many"), "does not say how long the file is"),
        ("none", False, ("Content-Length", "-5"), "does not say how long the file is"),
    ],
)
def test_answers_that_are_not_the_file_are_refused(how, partial, header, message, server, tmp_path):
    server.how, server.partial, server.more = how, partial, [header]
    with pytest.raises(download.DownloadError, match=message):
        fetched(server, tmp_path)
    assert not (tmp_path / "file").exists()


def test_other_host_is_followed(server, tmp_path):
    server.moved = {"/file": f"http://localhost:{server.server_port}/elsewhere"}
    assert fetched(server, tmp_path) == OLD and len(server.asked) == 2


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/file", "data:,x", "FILE:/etc/passwd", "//"])
def test_other_places_are_not_followed(place, server, tmp_path, monkeypatch):
    server.moved = {"/file": place}
    with pytest.raises(download.DownloadError, match="/file: "):
        download.fetch(server.url, str(tmp_path / "file"), hashlib.md5(OLD).hexdigest())
    assert not list(tmp_path.iterdir())


def test_encrypted_address_leads_to_no_open_one():
    request = urllib.request.Request("https://host/file")
    for place, legal in (("https://other/file", True), ("http://host/file", False)):
        try:
            download.Redirects().redirect_request(request, None, 302, "", {}, place)
        except download.DownloadError:
            assert not legal
        else:
            assert legal


def test_loop_ends(server, tmp_path):
    server.moved = {"/file": "/other", "/other": "/file"}
    with pytest.raises(download.DownloadError, match="/file: .*infinite loop"):
        download.fetch(server.url, str(tmp_path / "file"))
