"""Atomic writes of files, locks, digests of files, safetensors, and values that JSON can hold.

A temporary file is named `.alexnet-PLACE-PID-NAME`: PLACE is a digest of the host and its process
namespace, so that a writer on another host or in another container is never taken for a dead one.
"""

import errno
import functools
import hashlib
import json
import math
import os
import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PAGE = re.compile(
    rb"""(?isx) (?:\xef\xbb\xbf)? \s* (?:<\?xml[^>]*>\s*)? (?:<!--.*?-->\s*)*
    <(?:!doctype(?:\s+html)?|html|head|body|meta|title|script)(?=[\s>])"""
)
_ABANDONED_AFTER_S = 3600
_TEMPORARY = re.compile(r"\.alexnet-[0-9a-f]{8}-\d{1,9}-.+", re.DOTALL)
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)
"""Errors of a file system that has no locks."""


def is_web_page(start: bytes) -> bool:
    """Whether these first bytes of a file are those of an HTML page."""
    return _PAGE.match(start) is not None


@contextmanager
def replace_whole(path: Path) -> Iterator[Path]:
    """Yields a temporary path, which is renamed to `path` if the block succeeds.

    Temporary files that killed writers have left in the folder are removed.
    """
    remove_abandoned(path.parent)
    temporary = path.with_name(f".alexnet-{_place()}-{os.getpid()}-{path.name}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def is_temporary(path: Path) -> bool:
    """Whether a file is one that replace_whole() yields."""
    return _TEMPORARY.fullmatch(path.name) is not None and path.is_file()


def remove_abandoned(folder: Path, *, is_held: bool = False) -> None:
    """Removes the temporary files of killed writers from a folder.

    A writer that this process could see counts as killed once its process is gone, any other once
    it has written nothing for an hour. In a folder that this process holds, nobody else writes.
    """
    for path in filter(is_temporary, folder.glob(".alexnet-*")):
        with suppress(OSError):  # another process was faster, or Windows: it is open
            if is_held or _is_abandoned(path):
                path.unlink()


def _is_abandoned(path: Path) -> bool:
    import psutil  # noqa: PLC0415 - only where a leftover may be

    _, place, pid, _ = path.name.split("-", 3)
    if place == _place() and not psutil.pid_exists(int(pid)):
        return True
    return time.time() - path.stat().st_mtime > _ABANDONED_AFTER_S


@functools.cache
def _place() -> str:
    """Digest of the processes that this one can see: host, start of the system, namespace."""
    facts = [platform.node()]
    with suppress(OSError):  # Linux only
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        facts.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115 - it links to no path
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]


@contextmanager
def hold_lock(
    path: Path, wait_s: float = -1.0, give_up: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """Holds a lock file, which is removed afterwards; the system releases it if this process dies.

    A thread may hold a lock several times. On a drive without locks, nobody is kept away.

    Args:
        path: The lock file.
        wait_s: How long to wait while another process or thread holds it; negative: to its end.
        give_up: Called again and again in the meantime; True ends the waiting.

    Raises:
        TimeoutError: If it is still held then.
        OSError: If the file cannot be made.
    """
    from filelock import FileLock  # noqa: PLC0415 - 0.15 s that only writers pay

    lock = FileLock(path.resolve(), is_singleton=True)
    try:
        lock.acquire(wait_s, cancel_check=give_up)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    try:
        yield
    finally:
        if lock.lock_counter == 1:
            with suppress(OSError):  # Windows removes no open file
                path.unlink()  # a process that waits for it notices, and locks a new one
        lock.release()


def save_file(
    arrays: Mapping[str, NDArray[Any]], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Writes a safetensors file: equal arrays and metadata give equal bytes.

    The library's own function orders metadata at random, copies every array, and leaves a file of
    a random name when it is killed.

    Args:
        arrays: Integers, floats or booleans of any shape.
        path: The new file.
        metadata: Texts by name.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted((metadata or {}).items()))}
    ordered = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    # The widest numbers first, so that all of them are aligned.
    ordered = dict(sorted(ordered.items(), key=lambda item: -item[1].itemsize))
    end = 0
    for name, array in ordered.items():
        start, end = end, end + array.nbytes
        bits = "" if array.dtype == bool else str(8 * array.itemsize)
        header[name] = {
            "dtype": {"b": "BOOL", "i": "I", "u": "U", "f": "F"}[array.dtype.kind] + bits,
            "shape": array.shape,
            "data_offsets": (start, end),
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in ordered.values():
            file.write(array.astype(array.dtype.newbyteorder("<"), copy=False).data)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    with replace_whole(path) as temporary:
        temporary.write_bytes(content)


def file_digest(path: Path, algorithm: str) -> str:
    """Returns the checksum of a file's content, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def finite(value: Any) -> Any:
    """Returns the value with None for infinity and NaN, which JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
