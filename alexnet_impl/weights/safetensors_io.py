"""Reading and writing of weights as safetensors files: whole or not at all, with clear errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, deserialize, safe_open

from alexnet_impl.errors import WeightsError
from alexnet_impl.files import replace_whole, save_file
from alexnet_impl.weights.canonical import Weights
from alexnet_impl.weights.stored import StoredWeights, natural_key, strip_prefix, widen_bfloat16

_BFLOAT16 = "BF16"
_FLOATS = {_BFLOAT16: "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64"}
_NUMPY_TYPES = {
    "F16",
    "F32",
    "F64",
    *(f"{sign}{bits}" for sign in "IU" for bits in (8, 16, 32, 64)),
}


def write_safetensors(path: Path, arrays: Weights, metadata: dict[str, str]) -> None:
    """Writes arrays of any shape and metadata as safetensors, whole or not at all.

    Equal arrays and metadata give equal bytes.
    """
    with replace_whole(path) as temporary:
        save_file(arrays, temporary, metadata)


def read_metadata(path: Path) -> dict[str, str]:
    """Reads the metadata of a safetensors file, without its arrays.

    Raises:
        WeightsError: If it is missing or damaged.
    """
    with _read_errors(path), safe_open(path, framework="numpy") as file:
        return dict(file.metadata() or {})


def read_safetensors(path: Path) -> tuple[Weights, dict[str, str]]:
    """Reads arrays, in their stored shapes, and metadata of a safetensors file.

    Bfloat16, which NumPy does not have, becomes float32.

    Raises:
        WeightsError: If it is missing or damaged, or has other numbers that NumPy does not have.
    """
    with _read_errors(path), safe_open(path, framework="numpy") as file:
        types = {name: str(file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118 - no dict
        foreign = set(types.values()) - _NUMPY_TYPES - {_BFLOAT16}
        if foreign:
            raise WeightsError(
                f"{path}: contains numbers of a type unknown to NumPy ({min(foreign)}); give a "
                "file in float32, float16 or bfloat16."
            )
        arrays = {name: file.get_tensor(name) for name, kind in types.items() if kind != _BFLOAT16}
        info = dict(file.metadata() or {})
    if len(arrays) < len(types):
        arrays = {name: arrays.get(name) for name in types} | _bfloat16_arrays(path)
    return arrays, info


def read_stored(path: Path) -> StoredWeights:
    """Reads a safetensors file of any origin under its own names, without a common prefix.

    The format keeps no order; numbers in the names give it.

    Raises:
        WeightsError: See read_safetensors().
    """
    arrays, _ = read_safetensors(path)
    with _read_errors(path), safe_open(path, framework="numpy") as file:
        kinds = {str(file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118 - no dict
    prefix, stripped = strip_prefix(
        {name: arrays[name] for name in sorted(arrays, key=natural_key)}
    )
    return StoredWeights(
        arrays=stripped,
        types=frozenset(_FLOATS.get(kind, kind) for kind in kinds),
        notes=(f"the prefix '{prefix}' was stripped",) if prefix else (),
        ordered=False,
    )


def _bfloat16_arrays(path: Path) -> Weights:
    """The arrays of bfloat16 in a file, as float32."""
    with _read_errors(path):
        entries = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    return {
        name: widen_bfloat16(np.frombuffer(entry["data"], "<u2")).reshape(entry["shape"])
        for name, entry in entries
        if entry["dtype"] == _BFLOAT16
    }


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
