"""Download of one file over HTTP that resumes after an interruption and verifies a checksum."""

import http
import http.client
import os
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from alexnet_impl.data.progress import Progress, silent
from alexnet_impl.errors import DataError
from alexnet_impl.files import file_digest, hold_lock, write_bytes

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

    @property
    def has_checksum(self) -> bool:
        """Whether a checksum is published."""
        return bool(self.sha256 or self.md5)

    def checksum_mismatch(self, path: Path) -> str:
        """Describes a local copy's wrong checksum; empty if it is right, or none is published."""
        for algorithm, expected in (("sha256", self.sha256), ("md5", self.md5)):
            if expected and not (found := file_digest(path, algorithm)).startswith(expected):
                return f"has {algorithm} {found}, expected {expected}"
        return ""


def download(remote: RemoteFile, path: Path, *, progress: Progress = silent) -> Path:
    """Downloads a missing file through `path` + '.part', which an interrupted download continues.

    While another process downloads the file, this one waits, and then takes that file.

    Returns:
        `path`, the verified file.

    Raises:
        DataError: If the server cannot be reached, the connection breaks repeatedly, the folder
            cannot be written to, or the checksum is wrong; that file is then removed.
    """
    part = path.with_name(f"{path.name}.part")

    def keep_waiting() -> bool:
        progress(f"Waiting for another download of {path.name}", 0, 0)
        return False

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with hold_lock(part.with_name(f"{part.name}.lock"), give_up=keep_waiting):
            if not path.is_file():
                _fetch(remote, part, path, progress)
                part.replace(path)
                _version_file(part).unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{part}: cannot be written ({error}); choose another folder.") from error
    return path


def _fetch(remote: RemoteFile, part: Path, path: Path, progress: Progress) -> None:
    """Fetches into the part until it is complete and verified; `path` is for messages.

    Raises:
        DataError: If that fails.
    """
    part.touch()
    failure: Exception | None = None
    for _ in range(_ATTEMPTS):
        start = part.stat().st_size
        try:
            _fetch_rest(remote, part, progress)
        except urllib.error.HTTPError as error:
            error.close()
            failure = error
            break
        except (OSError, http.client.HTTPException) as error:
            failure = error
            continue
        mismatch = remote.checksum_mismatch(part)
        if not mismatch:
            return
        if not start:
            _remove(part)
            raise DataError(
                f"{remote.url}: the downloaded file {mismatch}; it was removed. Try again, or get "
                f"it elsewhere and put it at {path}."
            )
        os.truncate(part, 0)  # it may have been begun with another version of the file
    received = ""
    if not (size := part.stat().st_size):
        _remove(part)
    elif _can_continue(remote, _version_of(part)[1]):
        received = f", it continues after the {size:,} bytes received"
    raise DataError(
        f"{remote.url}: cannot be downloaded ({failure}). Try again{received}; or get it elsewhere "
        f"and put it at {path}."
    ) from failure


def _remove(part: Path) -> None:
    """Removes the part and its version."""
    part.unlink()
    _version_file(part).unlink(missing_ok=True)


def _version_file(part: Path) -> Path:
    """The file beside a part that names the version of the remote file it was begun with."""
    return part.with_name(f"{part.name}.version")


def _version_of(part: Path) -> tuple[str, str]:
    """Length and validator of the file that the part was begun with; empty if not known."""
    try:
        length, validator = _version_file(part).read_text().split("\n")
    except (OSError, ValueError):
        return "", ""
    return length, validator


def _version(response: http.client.HTTPResponse) -> tuple[str, str]:
    """Length and validator (ETag or date of change) of the whole file; empty if not announced."""
    in_range = re.fullmatch(r"bytes \d+-\d+/(\d+)", response.headers.get("Content-Range", ""))
    length = in_range[1] if in_range else str(response.length or "")
    etag = response.headers.get("ETag", "W/")
    is_weak = etag.startswith("W/")  # If-Range takes none
    return length, response.headers.get("Last-Modified", "") if is_weak else etag


def _fetch_rest(remote: RemoteFile, part: Path, progress: Progress) -> None:
    """Appends the missing bytes, or fetches all anew if the part is of another version.

    Raises:
        ConnectionError: If the part is not complete afterwards.
        DataError: If nothing would show whether it is.
    """
    start, (length, validator) = part.stat().st_size, _version_of(part)
    if start and str(start) == length:
        return
    if not _can_continue(remote, validator):
        start = 0
    response = _request(remote.url, start, validator)
    if response is None:
        if not remote.has_checksum:
            raise _emptied(part, "the part is longer than the file")
        return  # it is complete already, or its checksum will be wrong
    with response:
        found = _version(response)
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            start = 0
            os.truncate(part, 0)
            write_bytes(_version_file(part), "\n".join(found).encode())
        elif _first_byte(response) != start or not _agree((length, validator), found):
            raise _emptied(part, "the file on the server has changed")
        if not (found[0] or response.chunked or remote.has_checksum):
            raise DataError(
                f"{remote.url}: cannot be downloaded (the server does not say how long the file "
                "is, and no checksum is published, so a broken connection would not be noticed)."
            )
        _append(response, part, int(found[0] or 0), progress)


def _can_continue(remote: RemoteFile, validator: str) -> bool:
    """Whether it would show if the file has changed on the server since the part was begun."""
    return bool(validator) or remote.has_checksum


def _agree(known: tuple[str, str], found: tuple[str, str]) -> bool:
    """Whether two versions are the same, as far as both are known."""
    return not any(a and b and a != b for a, b in zip(known, found, strict=True))


def _emptied(part: Path, problem: str) -> ConnectionError:
    """Empties the part, so that the next attempt fetches all of the file."""
    os.truncate(part, 0)
    return ConnectionError(problem)


def _request(url: str, start: int, validator: str) -> http.client.HTTPResponse | None:
    """Asks for the bytes from `start` on; None if the file has no such bytes."""
    # Without this a server may compress the answer, and offsets would not match the file.
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-"} | ({"If-Range": validator} if validator else {})
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the package's own URL
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT_S)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        error.close()
        return None
    return response


def _first_byte(response: http.client.HTTPResponse) -> int:
    """Offset in the file at which a partial answer starts; -1 if it does not say so."""
    content_range = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(content_range[1]) if content_range else -1


def _append(response: http.client.HTTPResponse, part: Path, total: int, progress: Progress) -> None:
    """Appends the answer to the part; a total of 0 means that it is not known.

    Raises:
        ConnectionError: If the part has another length afterwards.
    """
    description = f"Downloading {response.url.rsplit('/', 1)[-1]}"
    with part.open("ab") as file:
        while chunk := response.read(_CHUNK_BYTES):
            file.write(chunk)
            progress(description, file.tell(), total)
        file.flush()
        os.fsync(file.fileno())
        if total and file.tell() != total:
            raise ConnectionError("the connection ended too early")
