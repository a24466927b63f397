"""Reading and writing of weights as safetensors files: whole or not at all, with clear errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open

from alexnet_impl.errors import WeightsError
from alexnet_impl.files import replace_whole, save_file
from alexnet_impl.weights.canonical import Weights


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
