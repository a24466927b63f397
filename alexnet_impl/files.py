"""Atomic writes of files, digests of files, safetensors, and values that JSON can hold."""

import glob
import hashlib
import json
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ABANDONED_AFTER_S = 3600


@contextmanager
def replace_whole(path: Path) -> Iterator[Path]:
    """Yields a temporary path, which is renamed to `path` if the block succeeds.

    Temporary files that killed writers of `path` have left are removed.
    """
    _remove_abandoned(path)
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    """Removes temporary files of `path` that no process has written to for an hour."""
    of_this_file = re.compile(rf"\.\d+-{re.escape(path.name)}")
    for leftover in path.parent.glob(f".*-{glob.escape(path.name)}"):
        with suppress(OSError):
            if of_this_file.fullmatch(leftover.name) and _age_s(leftover) > _ABANDONED_AFTER_S:
                leftover.unlink()


def _age_s(path: Path) -> float:
    return time.time() - path.stat().st_mtime


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
