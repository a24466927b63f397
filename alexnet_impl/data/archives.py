"""Archives as streams: the kind of a file by its first bytes, and the members of a tar or zip.

Nothing is unpacked to disk, names decide nothing but what is read, and what an archive claims of
its sizes is checked before memory is taken for it.
"""

import bz2
import gzip
import lzma
import posixpath
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, cast

from alexnet_impl.errors import DataError
from alexnet_impl.files import is_web_page

MOST_MEMBER_BYTES = 1 << 28
"""The largest file that is read from an archive: CIFAR-100's largest has 155 MB."""
_MOST_RATIO = 200  # gzip reaches 1,000 with zeros; tars of the smallest images reach 50
_RATIO_FROM_BYTES = 1 << 30
_CHUNK_BYTES = 1 << 20
_BLOCK_BYTES = 512

_MAGIC = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"PAR1", "parquet"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!", "rar"),
    (b"version https://git-lfs", "Git LFS pointer"),
)
ARCHIVES = frozenset({"zip", "gzip", "bzip2", "xz", "tar"})
"""Kinds of file that members() reads."""


class ArchiveError(DataError):
    """An archive that does not unpack; the message is the reason alone."""


def file_kind(path: Path) -> str:
    """The kind of a file by its first bytes, whatever its name: 'zip', 'gzip', 'tar', 'parquet' ...

    Returns:
        'web page', 'Git LFS pointer' and 'empty' for what downloads leave instead of an archive;
        '' for any other file.

    Raises:
        OSError: If the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(_BLOCK_BYTES)
    if not start:
        return "empty"
    for magic, kind in _MAGIC:
        if start.startswith(magic):
            return kind
    if is_web_page(start):
        return "web page"
    return "tar" if _is_tar_header(start) else ""


def _is_tar_header(block: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(block, tarfile.ENCODING, "surrogateescape")
    except tarfile.TarError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file, folder or link in an archive.

    Attributes:
        name: Its path with forward slashes; a folder's ends with one.
        size: Its size in bytes.
        read: Returns its content, until the next member is asked for; not that of a link.
        link: The path in the archive that a link leads to; otherwise empty.
    """

    name: str
    size: int
    read: Callable[[], bytes]
    link: str = ""


def members(path: Path) -> Iterator[Member]:
    """Yields the members of a zip, or of a tar of any compression, in stored order.

    Devices are left out. A tar is read to its end, so that a damaged one is noticed.

    Raises:
        ArchiveError: If the file is no archive, is damaged, or claims impossible sizes.
    """
    try:
        kind = file_kind(path)
        with _decompressed(path, kind) as file:
            yield from _zip_members(file) if kind == "zip" else _tar_members(file, path)
    except ArchiveError:
        raise
    except Exception as error:  # damaged bytes provoke zlib.error, EOFError, struct.error ...
        raise ArchiveError(str(error) or type(error).__name__) from error


def _decompressed(path: Path, kind: str) -> IO[bytes]:
    match kind:
        case "gzip":
            return cast("IO[bytes]", gzip.open(path))
        case "bzip2":
            return cast("IO[bytes]", bz2.open(path))
        case "xz":
            return cast("IO[bytes]", lzma.open(path))
        case _:
            return path.open("rb")


def _zip_members(file: IO[bytes]) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            read = _reader(partial(archive.open, entry), entry.file_size)
            yield Member(name=entry.filename, size=entry.file_size, read=read)


def _tar_members(file: IO[bytes], path: Path) -> Iterator[Member]:
    bounded = _Bounded(file, _RATIO_FROM_BYTES + _MOST_RATIO * path.stat().st_size)
    with tarfile.open(fileobj=bounded, mode="r:") as archive:  # type: ignore[call-overload]
        while entry := archive.next():
            archive.members.clear()  # otherwise it remembers all of them
            name = entry.name.removeprefix("./") + ("/" if entry.isdir() else "")
            link = _target(entry) if entry.issym() or entry.islnk() else ""
            if entry.isreg() or entry.isdir() or link:
                read = _reader(partial(archive.extractfile, entry), entry.size)
                yield Member(name=name, size=entry.size, read=read, link=link)
        _check_end(bounded, archive.offset)


def _target(entry: tarfile.TarInfo) -> str:
    """The path that a link leads to: from its folder if it is symbolic, otherwise from the top."""
    folder = posixpath.dirname(entry.name) if entry.issym() else ""
    return posixpath.normpath(posixpath.join(folder, entry.linkname))


def _reader(opened: Callable[[], IO[bytes] | None], size: int) -> Callable[[], bytes]:
    """A function that reads a whole member of a size that is believed only within limits."""

    def read() -> bytes:
        if size > MOST_MEMBER_BYTES:
            raise ArchiveError(f"a file of {size:,} bytes, and {MOST_MEMBER_BYTES:,} are allowed")
        try:
            with cast("IO[bytes]", opened()) as file:
                return file.read(size)
        except Exception as error:  # as in members()
            raise ArchiveError(str(error) or type(error).__name__) from error

    return read


class _Bounded:
    """A file that is read in moderate pieces, and up to a limit: what tarfile needs of one."""

    def __init__(self, file: IO[bytes], most_bytes: int) -> None:
        self._file, self._most_bytes = file, most_bytes

    def read(self, size: int = -1) -> bytes:
        """Reads up to `size` bytes, after checking that the archive does not ask for too many."""
        if not 0 <= size <= MOST_MEMBER_BYTES:
            raise ArchiveError(f"it asks for {size:,} bytes at once")
        self._check(self._file.tell() + size)
        return self._file.read(size)

    def seek(self, position: int) -> int:
        """Moves on; what lies between is unpacked and dropped."""
        self._check(position)
        return self._file.seek(position)

    def tell(self) -> int:
        """The position in the unpacked archive."""
        return self._file.tell()

    def _check(self, position: int) -> None:
        if position > self._most_bytes + MOST_MEMBER_BYTES:
            raise ArchiveError(f"it unpacks to more than {self._most_bytes / 1e9:,.1f} GB")


def _check_end(file: _Bounded, offset: int) -> None:
    """Checks that zeros end the archive: tarfile takes a damaged header for the end too."""
    file.seek(offset)
    found = file.read(_CHUNK_BYTES)
    if not found:
        raise ArchiveError("it ends too early")
    while found:
        if found.count(0) < len(found):
            raise ArchiveError(f"it is damaged at byte {offset:,}")
        found = file.read(_CHUNK_BYTES)
