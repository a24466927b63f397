"""The state_dict in a file of torch.save under its own names; no code in the file runs."""

import pickle
import pickletools
import re
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet_impl.errors import WeightsError
from alexnet_impl.weights.file_sizes import check_uncompressed
from alexnet_impl.weights.published_files import published_of
from alexnet_impl.weights.stored import StoredWeights, find_state_dict, strip_prefix
from alexnet_impl.weights.wrong_files import refuse_wrong_file

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_DTYPES = (*_FLOATS, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool)

_MOST_SHARING = 4
"""Bytes of tensors over bytes of their file: a few layers may share a tensor, not hundreds."""


def read_stored(path: Path, key: str | None = None) -> StoredWeights:
    """Reads the state_dict in a file of torch.save under its own names, without a common prefix.

    A file that torchvision publishes also has class names.

    Args:
        path: A file that torch.save wrote; it is read with weights_only=True.
        key: The key of the state_dict in a training checkpoint; None: there must be only one.

    Raises:
        WeightsError: If it is missing or damaged, or has no or several state_dicts.
        UnknownNameError: If there is none under the key.
    """
    tensors, notes = load_tensors(path, key)
    class_names: tuple[str, ...] = ()
    if published_of(path) is not None:
        from torchvision.models import AlexNet_Weights  # noqa: PLC0415 - takes a second

        class_names = tuple(AlexNet_Weights.IMAGENET1K_V1.meta["categories"])
    return StoredWeights(
        arrays={name: to_numpy(tensor) for name, tensor in tensors.items()},
        types=frozenset(str(t.dtype).removeprefix("torch.") for t in tensors.values()),
        notes=notes,
        class_names=class_names,
    )


class _Ignored:
    """Stands for a NumPy scalar or array of a checkpoint, such as its best accuracy.

    NumPy's own functions are not called: they trust what a file says about memory.
    """

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


_HARMLESS: list[Any] = [
    (_Ignored, name)
    for name in (
        "numpy.dtype",
        "numpy.ndarray",
        *(
            f"numpy.{core}.multiarray.{function}"
            for core in ("core", "_core")
            for function in ("scalar", "_reconstruct")
        ),
    )
]
"""Names in a pickle that are allowed besides tensors, with what is made instead."""


def load_tensors(path: Path, key: str | None = None) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Reads the tensors, of any shape, of the one state_dict in a file.

    Returns:
        The tensors under their names without a common prefix, and phrases on where they were.

    Raises:
        WeightsError: See read_stored().
        UnknownNameError: See read_stored().
    """
    check_uncompressed(path)
    refuse_wrong_file(path)
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{path}: {_not_only_tensors(path, error)}") from error
    except Exception as error:  # a text file raises any kind, by its first letter
        raise WeightsError(
            f"{path}: is not a file of torch.save, or it is damaged ({type(error).__name__}: "
            f"{short_reason(error)}). Give a file that torch.save(model.state_dict(), PATH) wrote."
        ) from error
    found, tensors = find_state_dict(content, _is_tensor, key, str(path))
    for name, tensor in tensors.items():
        if not _is_plain(tensor):
            raise WeightsError(
                f"{path}: {name} is a {tensor.layout} tensor of {tensor.dtype}, perhaps expanded; "
                "only dense tensors of integers or floats are read."
            )
    _check_sharing(path, tensors)
    prefix, stripped = strip_prefix(tensors)
    notes = (f"the state_dict under '{found}' was taken",) if found else ()
    return stripped, (*notes, *([f"the prefix '{prefix}' was stripped"] if prefix else []))


def _check_sharing(path: Path, tensors: dict[str, Tensor]) -> None:
    """Checks that copies of the tensors need memory in proportion to their file."""
    num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    size = path.stat().st_size
    if num_bytes > _MOST_SHARING * size:
        raise WeightsError(
            f"{path}: declares {num_bytes:,} bytes of tensors in a file of {size:,}, since many "
            "share one storage. Where it was made, save tensor.clone() of each."
        )


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _not_only_tensors(path: Path, error: pickle.UnpicklingError) -> str:
    """Names what a pickle holds besides tensors, and the remedy; nothing of it was made."""
    first = re.search(r"GLOBAL ([\w.]+)", str(error))
    if first is None:
        return (
            "holds more than tensors, or is damaged; no code in it was run. Save "
            "`model.state_dict()` instead of the model."
        )
    names = [first[1]]
    with suppress(Exception):  # an old file is no zip
        names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path)) or names
    if any(name.startswith("torch.nn.modules.") for name in names) and not _is_dict(path):
        return (
            f"is a whole pickled model ({first[1]}), whose classes are programs; no code in it was "
            "run. Where the model is defined, save its weights alone: "
            "torch.save(model.state_dict(), 'weights.pt')"
        )
    harmless = {name for _, name in _HARMLESS}
    others = ", ".join(name for name in names if name not in harmless)
    return (
        f"holds more than tensors: {others or first[1]:.200}; no code in it was run. In the "
        "program that wrote it, save the weights alone: torch.save(model.state_dict(), "
        "'weights.pt')"
    )


def _is_dict(path: Path) -> bool:
    """Whether a file starts with a dict, as a checkpoint does, and not with a model."""
    with suppress(Exception), zipfile.ZipFile(path) as file:
        name = next(name for name in file.namelist() if name.endswith("/data.pkl"))
        operations = (code.name for code, _, _ in pickletools.genops(file.read(name)))
        return next(name for name in operations if name not in ("PROTO", "FRAME")) == "EMPTY_DICT"
    return False


def _is_plain(tensor: Tensor) -> bool:
    """Whether NumPy can hold a tensor in no more bytes than it has in the file."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
        return False
    if tensor.is_meta:
        return False
    num_bytes = tensor.numel() * tensor.element_size()
    return tensor.dtype in _DTYPES and num_bytes <= tensor.untyped_storage().nbytes()


def to_numpy(tensor: Tensor) -> NDArray[Any]:
    """Copies a tensor to the host in its shape, C-contiguous; half precision becomes float32."""
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    array: NDArray[Any] = tensor.detach().cpu().contiguous().numpy()
    return array.copy()


def short_reason(error: BaseException) -> str:
    """The first line of a library's message, unless it advises to trust the file."""
    text = str(error).strip()
    if not text or "weights_only" in text:
        return type(error).__name__
    return text.splitlines()[0]
