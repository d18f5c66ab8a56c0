"""Downloads that can be resumed, with a check of the MD5 sum and a progress bar."""

import hashlib
import logging
import os
import urllib.error
import urllib.request
from http.client import HTTPException

from tqdm import tqdm

logger = logging.getLogger(__name__)

CHUNK = 1 << 20
ATTEMPTS = 4
TIMEOUT = 60  # seconds without a byte


class DownloadError(OSError):
    """A file could not be downloaded, or differs from the published one."""


def fetch(url: str, path: str, md5: str = "") -> None:
    """Download `url` to `path`. The file appears once it is complete and has the sum `md5`, if that is given.

    An interrupted download leaves `path`.part, which the next attempt or call continues if the server supports HTTP
    ranges. Raises DownloadError.
    """
    if os.path.isfile(path) and (not md5 or md5_of(path) == md5):
        return
    part = f"{path}.part"
    for attempt in range(1, ATTEMPTS + 1):
        resumed = os.path.isfile(part)
        try:
            _receive(url, part)
        except (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError) as error:
            status = getattr(error, "code", None)
            if attempt == ATTEMPTS or (status is not None and 400 <= status < 500 and status != 416):
                raise DownloadError(f"{url}: {error}") from error
            if status == 416:  # `part` is not the beginning of the file
                os.remove(part)
            logger.info("%s: %s; attempt %d of %d follows", url, error, attempt + 1, ATTEMPTS)
            continue
        found = md5_of(part) if md5 else ""
        if found == md5:
            os.replace(part, path)
            return
        os.remove(part)
        if not resumed:
            raise DownloadError(f"{url}: the MD5 sum is {found}, not {md5}: the file has changed or is damaged")
    raise DownloadError(f"{url}: no complete file after {ATTEMPTS} attempts")


def _receive(url: str, part: str) -> None:
    """Download the missing rest of `part`, or everything if the server does not send ranges."""
    have = os.path.getsize(part) if os.path.isfile(part) else 0
    headers = {"User-Agent": "Mozilla/5.0 (softcpt data.py)", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
        if answer.headers.get_content_type() == "text/html" and not url.endswith((".html", ".htm")):
            raise DownloadError(f"{url}: the server sent a web page (a quota?); open the address in a browser")
        if answer.status != 206:
            have = 0
        elif not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise DownloadError(f"{url}: the server sent another range than requested")
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
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


def md5_of(path: str) -> str:
    """The MD5 sum of a file."""
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
