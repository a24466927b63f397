"""Weights in safetensors files: written whole, read with every error named."""

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
    """Write arrays and metadata as safetensors, whole or not at all."""
    with replace_whole(path) as temporary, _disk_errors(path):
        save_file({k: np.asarray(v, order="C") for k, v in arrays.items()}, temporary, metadata)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Safetensors reports a full disk as an error of its own kind."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(f"{path}: cannot be written ({error}).") from error


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, without its arrays.

    Raises:
        WeightsError: If it is missing or damaged.
    """
    with _read_errors(path), safe_open(path, framework="numpy") as file:
        return dict(file.metadata() or {})


def read_safetensors(path: Path) -> tuple[Weights, dict[str, str]]:
    """Arrays and metadata of a safetensors file.

    Raises:
        WeightsError: If it is missing or damaged.
    """
    try:
        with _read_errors(path), safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
            info = dict(file.metadata() or {})
    except (TypeError, AttributeError) as error:
        raise WeightsError(_FOREIGN_NUMBERS.format(path=path, why=error)) from error
    # TensorFlow teaches NumPy bfloat16, whose kind is V: what is refused must not depend on it.
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


_FOREIGN_NUMBERS = "{path}: holds numbers of a type that NumPy has not ({why}): of another package."
