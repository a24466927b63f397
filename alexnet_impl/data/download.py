"""Download of one file over HTTP that resumes after an interruption and verifies a checksum."""

import http
import http.client
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from alexnet_impl.data.progress import Progress, silent
from alexnet_impl.errors import DataError
from alexnet_impl.files import file_digest

_CHUNK_BYTES = 1 << 18
_ATTEMPTS = 5
_TIMEOUT_S = 30


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file on a server and its checksum.

    Attributes:
        url: Its address.
        sha256: Its checksum as hex, or the first digits of it; empty if none is published.
        md5: Likewise.
    """

    url: str
    sha256: str = ""
    md5: str = ""

    def checksum_mismatch(self, path: Path) -> str:
        """Describes a local copy's wrong checksum; empty if it is right, or none is published."""
        for algorithm, expected in (("sha256", self.sha256), ("md5", self.md5)):
            if expected and not (found := file_digest(path, algorithm)).startswith(expected):
                return f"has {algorithm} {found}, expected {expected}"
        return ""


def download(remote: RemoteFile, path: Path, *, progress: Progress = silent) -> Path:
    """Downloads a missing file through `path` + '.part', which an interrupted download continues.

    Returns:
        `path`, the verified file.

    Raises:
        DataError: If the server cannot be reached, the connection breaks repeatedly, the folder
            cannot be written to, or the checksum is wrong; that file is then removed.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    except OSError as error:
        raise DataError(f"{part}: cannot be written ({error}); choose another folder.") from error
    failure = _fetch_all(remote, part, progress)
    if failure is not None:
        raise DataError(
            f"{remote.url}: cannot be downloaded ({failure}). Try again, it continues after the "
            f"{part.stat().st_size:,} bytes received; or get it elsewhere and put it at {path}."
        ) from failure
    if mismatch := remote.checksum_mismatch(part):
        part.unlink()
        raise DataError(
            f"{remote.url}: the downloaded file {mismatch}; it was removed. Try again, or get it "
            f"elsewhere and put it at {path}."
        )
    part.replace(path)
    return path


def _fetch_all(remote: RemoteFile, part: Path, progress: Progress) -> Exception | None:
    """Fetches until the file is complete; returns the last error if that fails, otherwise None."""
    failure: Exception | None = None
    for _ in range(_ATTEMPTS):
        try:
            if _fetch_rest(remote.url, part, progress):
                return None
            failure = ConnectionError("the connection ended too early")
        except urllib.error.HTTPError as error:
            error.close()
            return error
        except (OSError, http.client.HTTPException) as error:
            failure = error
    return failure


def _fetch_rest(url: str, part: Path, progress: Progress) -> bool:
    """Appends the missing bytes; returns whether the file is complete according to the server."""
    start = part.stat().st_size
    # Without this a server may compress the answer, and offsets would not match the file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the package's own URL
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_S)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        error.close()
        return True  # the file is complete already; the checksum is verified afterwards
    with response, part.open("ab") as file:
        done = start if _first_byte(response) == start else 0
        file.truncate(done)  # the server may send all of it again
        return _copy(response, file, done, progress)


def _first_byte(response: http.client.HTTPResponse) -> int:
    """Offset in the file at which the answer starts; 0 if the server does not support ranges."""
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        return 0
    content_range = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(content_range[1]) if content_range else 0


def _copy(
    response: http.client.HTTPResponse, file: BinaryIO, done: int, progress: Progress
) -> bool:
    """Appends the answer to the file; returns whether it has the announced length."""
    length = response.headers.get("Content-Length")
    total = done + int(length) if length else 0
    description = f"Downloading {response.url.rsplit('/', 1)[-1]}"
    while chunk := response.read(_CHUNK_BYTES):
        file.write(chunk)
        done += len(chunk)
        progress(description, done, total)
    return done >= total
