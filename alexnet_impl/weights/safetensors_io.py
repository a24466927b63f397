"""Reading and writing of weights as safetensors files: whole or not at all, with clear errors."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from alexnet_impl.errors import WeightsError
from alexnet_impl.files import replace_whole
from alexnet_impl.weights.canonical import Weights


def write_safetensors(path: Path, arrays: Weights, metadata: dict[str, str]) -> None:
    """Writes arrays of any shape and metadata as safetensors, whole or not at all.

    Equal arrays and metadata give equal bytes.
    """
    with replace_whole(path) as temporary, _disk_errors(path):
        save_file({k: np.asarray(v, order="C") for k, v in arrays.items()}, temporary, metadata)
        _sort_metadata(temporary)


def _sort_metadata(path: Path) -> None:
    """Sorts the metadata in a file's header, which safetensors writes in random order."""
    with path.open("r+b") as file:
        num_bytes = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(num_bytes))
        header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
        file.seek(8)
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":"))
        file.write(text.encode().ljust(num_bytes))


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turns safetensors' own error on a full disk into an OSError."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(f"{path}: cannot be written ({error}).") from error


def read_metadata(path: Path) -> dict[str, str]:
    """Reads the metadata of a safetensors file, without its arrays.

    Raises:
        WeightsError: If it is missing or damaged.
    """
    with _read_errors(path), safe_open(path, framework="numpy") as file:
        return dict(file.metadata() or {})


def read_safetensors(path: Path) -> tuple[Weights, dict[str, str]]:
    """Reads arrays, in their stored shapes, and metadata of a safetensors file.

    Raises:
        WeightsError: If it is missing or damaged.
    """
    try:
        with _read_errors(path), safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
            info = dict(file.metadata() or {})
    except (TypeError, AttributeError) as error:
        raise WeightsError(_FOREIGN_NUMBERS.format(path=path, why=error)) from error
    # TensorFlow registers bfloat16 with NumPy (kind V): what is refused must not depend on that.
    foreign = [array.dtype for array in arrays.values() if array.dtype.kind not in "fiu"]
    if foreign:
        raise WeightsError(_FOREIGN_NUMBERS.format(path=path, why=foreign[0]))
    return arrays, info


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: there is no such file.") from error
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path}: cannot be read as safetensors ({error}); it is truncated or damaged."
        ) from error


_FOREIGN_NUMBERS = (
    "{path}: contains numbers of a type unknown to NumPy ({why}); another package wrote it."
)
