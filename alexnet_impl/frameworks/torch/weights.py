"""Canonical weights into and out of PyTorch, whose layout is the canonical one."""

import pickle
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet_impl.errors import WeightsError
from alexnet_impl.frameworks.torch.backbones import build_backbone, is_of_head
from alexnet_impl.network import spec as s
from alexnet_impl.network.spec import Spec
from alexnet_impl.weights.canonical import Weights, check_weights, is_of_backbone
from alexnet_impl.weights.file_sizes import check_uncompressed
from alexnet_impl.weights.matching import to_network, torchvision_names
from alexnet_impl.weights.published_files import published_of
from alexnet_impl.weights.stored import StoredWeights, find_state_dict, strip_prefix
from alexnet_impl.weights.wrong_files import refuse_wrong_file

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_DTYPES = (*_FLOATS, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool)


def get_weights(model: nn.Module, spec: Spec) -> Weights:
    """Copies the model's weights in the canonical layout, bit for bit."""
    tensors = model.state_dict()
    names = [*(name for name in tensors if is_of_backbone(name, spec)), *s.weight_shapes(spec)]
    return {name: to_numpy(tensors[name]) for name in names}


def set_weights(model: nn.Module, spec: Spec, weights: Weights) -> None:
    """Copies weights of the canonical layout into the model.

    A backbone keeps its own weights if none of them are given.

    Raises:
        WeightsError: If they belong to another network.
    """
    check_weights(weights, spec)
    kept = {name: tensor for name, tensor in model.state_dict().items() if name not in weights}
    given = {name: torch.from_numpy(array) for name, array in weights.items()}
    if kept and any(is_of_backbone(name, spec) for name in weights):
        raise WeightsError(f"{spec.name}: {next(iter(kept))} of the backbone is missing.")
    try:
        model.load_state_dict(kept | given)
    except RuntimeError as error:
        raise WeightsError(
            f"{spec.name}: the weights do not fit its backbone ({_reason(error)})."
        ) from error


def read_backbone(path: Path, spec: Spec) -> Weights:
    """Reads a backbone's weights, in torchvision's shapes, from a whole network's state_dict.

    Args:
        path: A .pt or .pth file, read with weights_only=True.
        spec: A network with that backbone.

    Raises:
        WeightsError: If it is missing, damaged, no state_dict, or belongs to another network.
    """
    backbone = s.backbone_of(spec)
    if backbone is None:
        raise WeightsError(f"{path}: {spec.name} has no backbone, so that no file fits.")
    model = build_backbone(backbone.architecture)
    tensors = {
        name: tensor
        for name, tensor in _load_tensors(path)[0].items()
        if not is_of_head(backbone.architecture, name)
    }
    # Files of old releases lack the number of batches of the statistics.
    counts = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name.endswith("num_batches_tracked")
    }
    try:
        model.load_state_dict(counts | tensors)
    except RuntimeError as error:
        raise WeightsError(
            f"{path}: is not a file of torchvision's {backbone.architecture} ({_reason(error)})."
        ) from error
    return {f"{backbone.name}.{name}": to_numpy(t) for name, t in model.state_dict().items()}


def read_checkpoint(path: Path, spec: Spec) -> Weights:
    """Reads the state_dict in a file of torch.save into the canonical layout.

    Args:
        path: A file that torch.save wrote; it is read with weights_only=True, so that no code in
            it runs.
        spec: The network it belongs to.

    Raises:
        WeightsError: If it is missing, damaged, no state_dict, or of another network.
    """
    return to_network(read_stored(path), spec, str(path))[0]


def read_stored(path: Path, key: str | None = None) -> StoredWeights:
    """Reads the state_dict in a file of torch.save under its own names, without a common prefix.

    A file that torchvision publishes also has class names.

    Args:
        path: As for read_checkpoint().
        key: The key of the state_dict in a training checkpoint; None: there must be only one.

    Raises:
        WeightsError: If it is missing or damaged, or has no or several state_dicts.
        UnknownNameError: If there is none under the key.
    """
    tensors, notes = _load_tensors(path, key)
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


def write_checkpoint(path: Path, spec: Spec, weights: Weights) -> None:
    """Writes weights of the canonical layout as a state_dict.

    Torchvision's alexnet can load that of the torchvision variant.
    """
    check_weights(weights, spec)
    names = torchvision_names(spec) if spec.name == "torchvision" else {}
    tensors = {names.get(n, n): torch.from_numpy(array) for n, array in weights.items()}
    with path.open("wb") as file:  # torch.save would write the name of a path into the file
        torch.save(tensors, file)


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


def _load_tensors(path: Path, key: str | None = None) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors of the one state_dict in a file, and phrases on where they were."""
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
            f"{_line(error)}). Give a file that torch.save(model.state_dict(), PATH) wrote."
        ) from error
    found, tensors = find_state_dict(content, _is_tensor, key, str(path))
    for name, tensor in tensors.items():
        if not _is_plain(tensor):
            raise WeightsError(
                f"{path}: {name} is a {tensor.layout} tensor of {tensor.dtype}, perhaps expanded; "
                "only dense tensors of integers or floats are read."
            )
    prefix, stripped = strip_prefix(tensors)
    notes = (f"the state_dict under '{found}' was taken",) if found else ()
    return stripped, (*notes, *([f"the prefix '{prefix}' was stripped"] if prefix else []))


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
    model = next((name for name in names if name.startswith("torch.nn.modules.")), None)
    if model is not None:
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


def _reason(error: BaseException) -> str:
    """Returns the first problem that load_state_dict lists."""
    lines = str(error).strip().splitlines()
    return " ".join(lines[1].split())[:300] if len(lines) > 1 else _line(error)


def _line(error: BaseException) -> str:
    """The first line of a library's message, unless it advises to trust the file."""
    text = str(error).strip()
    if not text or "weights_only" in text:
        return type(error).__name__
    return text.splitlines()[0]
