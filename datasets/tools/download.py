"""Downloads that can be resumed, with a check of the MD5 sum and a progress bar."""

import contextlib
import hashlib
import logging
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from email.message import Message
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO

from tqdm import tqdm

logger = logging.getLogger(__name__)

CHUNK = 1 << 20
ATTEMPTS = 4
TIMEOUT = 60  # seconds without a byte


class DownloadError(OSError):
    """A file could not be downloaded, or differs from the published one."""


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server to other addresses on the web, but not from an encrypted to an open one, nor to ftp:, whose
    answers tell neither the version nor the length of a file. (Python itself refuses file:, and a loop.)"""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        legal = ("https",) if req.type == "https" else ("http", "https")
        if urllib.parse.urlsplit(newurl).scheme not in legal:
            raise DownloadError(f"{req.full_url}: the server leads to {newurl:.200}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


OPENER = urllib.request.build_opener(Redirects)


def fetch(url: str, path: str, md5: str = "") -> None:
    """Download `url` to `path`. The file appears once it is complete and has the sum `md5`, if that is given.

    An interrupted download leaves `path`.part, which the next attempt or call continues if the server supports HTTP
    ranges and says that the file is the same (by its ETag or time of change, kept in `path`.part.version), or if `md5`
    can tell. Raises DownloadError, also if neither the server nor `md5` tells whether the file is complete.
    """
    if os.path.isfile(path) and (not md5 or md5_of(path) == md5):
        return
    part = f"{path}.part"
    for attempt in range(1, ATTEMPTS + 1):
        resumed = os.path.isfile(part)
        try:
            _receive(url, part, bool(md5))
        except (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError) as error:
            status = getattr(error, "code", None)
            if attempt == ATTEMPTS or (status is not None and 400 <= status < 500 and status != 416):
                raise DownloadError(f"{url}: {error}") from error
            if status == 416:  # `part` is not the beginning of the file
                _remove(part)
            logger.info("%s: %s; attempt %d of %d follows", url, error, attempt + 1, ATTEMPTS)
            continue
        found = md5_of(part) if md5 else ""
        if found == md5:
            os.replace(part, path)
            _remove(part)
            return
        _remove(part)
        if not resumed:
            raise DownloadError(f"{url}: the MD5 sum is {found}, not {md5}: the file has changed or is damaged")
    raise DownloadError(f"{url}: no complete file after {ATTEMPTS} attempts")


def _receive(url: str, part: str, checked: bool) -> None:
    """Download the missing rest of `part`, or everything if the rest may be of another file, or is not sent.

    Args:
        checked: the file is compared with a sum afterwards.
    """
    version, have = _version_of(part, url), 0
    if os.path.isfile(part) and (version or checked):
        have = os.path.getsize(part)
    headers = {"User-Agent": "Mozilla/5.0 (softcpt data.py)", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-"} | ({"If-Range": version} if version else {})
    with OPENER.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
        if answer.headers.get_content_type() == "text/html" and not url.endswith((".html", ".htm")):
            raise DownloadError(f"{url}: the server sent a web page (a quota?); open the address in a browser")
        packed = answer.headers.get("Content-Encoding", "identity")
        if packed != "identity" and not checked and not url.endswith((".gz", ".tgz")):  # servers say it of those files
            raise DownloadError(f"{url}: the server sent it packed ({packed:.40}); open the address in a browser")
        sent = _version_in(answer.headers)
        if answer.status != 206:
            have = 0
        elif version and sent and sent != version:  # a server that knows no If-Range
            _remove(part)
            raise ConnectionError("the file has changed since its first part was received")
        total = _total(url, answer, have)
        if total is None and not checked and not answer.chunked:
            raise DownloadError(
                f"{url}: the server does not say how long the file is, and no MD5 sum is known, so that nothing tells "
                "whether it arrives whole; open the address in a browser"
            )
        if not have:
            with open(f"{part}.version", "w", encoding="utf-8") as file:
                file.write(f"{url}\n{sent}\n")
        name = os.path.basename(part).removesuffix(".part")
        with (
            open(part, "ab" if have else "wb") as file,
            tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=name, disable=None) as bar,
        ):
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and os.path.getsize(part) != total:
        raise ConnectionError(f"{os.path.getsize(part):,} of {total:,} bytes were received")


def _total(url: str, answer: HTTPResponse, have: int) -> int | None:
    """The size of the whole file, of which the first `have` bytes are here; None if the server does not say it.

    Raises DownloadError for an answer with another part than the rest.
    """
    length = answer.headers.get("Content-Length", "")
    if answer.status != 206:
        return int(length) if re.fullmatch("[0-9]{1,18}", length) else None
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.headers.get("Content-Range", ""))
    if not found or int(found[1]) != have or found[3] != "*" and int(found[2]) + 1 != int(found[3]):
        raise DownloadError(f"{url}: the server sent another range than requested")
    return int(found[2]) + 1


def _version_in(headers: Message) -> str:
    """What tells one version of a file from another, in an answer: a strong ETag, or the time of change; or ""."""
    tag = headers.get("ETag", "").strip()
    return tag if tag.startswith('"') else headers.get("Last-Modified", "").strip()


def _version_of(part: str, url: str) -> str:
    """The version of the file of which `part` is the beginning; "" if it is not known, or of another address."""
    with contextlib.suppress(OSError, ValueError), open(f"{part}.version", encoding="utf-8") as file:
        address, version, *_ = [*file.read().splitlines(), "", ""]
        return version if address == url else ""
    return ""


def _remove(part: str) -> None:
    for path in (part, f"{part}.version"):
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)


def md5_of(path: str) -> str:
    """The MD5 sum of a file."""
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
