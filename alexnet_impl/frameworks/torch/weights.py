"""Canonical weights into and out of PyTorch, whose layout is the canonical one."""

import pickle
from pathlib import Path
from typing import Any, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet_impl.errors import WeightsError
from alexnet_impl.frameworks.torch.backbones import build_backbone, is_of_head
from alexnet_impl.network import spec as s
from alexnet_impl.network.spec import Spec
from alexnet_impl.weights.canonical import Weights, check_weights, is_of_backbone
from alexnet_impl.weights.file_sizes import check_uncompressed
from alexnet_impl.weights.published_files import published_of

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
        for name, tensor in _load_tensors(path).items()
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


def torchvision_names(spec: Spec) -> dict[str, str]:
    """Maps canonical names to torchvision's state_dict: conv1.weight to features.0.weight.

    torchvision numbers the layers before the flattening as `features` and those after it as
    `classifier`, so the names follow from the positions in the Spec.
    """
    kinds = [isinstance(layer, s.Flatten) for layer in spec.layers]
    flatten = kinds.index(True)
    names: dict[str, str] = {}
    for place, step in enumerate(s.trace(spec).layers):
        part = f"features.{place}" if place < flatten else f"classifier.{place - flatten - 1}"
        names |= {f"{step.layer.name}.{short}": f"{part}.{short}" for short in step.weight_shapes}
    return names


def read_checkpoint(path: Path, spec: Spec) -> Weights:
    """Reads a .pt or .pth state_dict, with our names or torchvision's, into the canonical layout.

    Args:
        path: A file that torch.save wrote; it is read with weights_only=True, so that no code in
            it runs.
        spec: The network it belongs to.

    Raises:
        WeightsError: If it is missing, damaged, no state_dict, or of another network.
    """
    tensors = _load_tensors(path)
    ours = {theirs: ours for ours, theirs in torchvision_names(spec).items()}
    if any(name in ours for name in tensors):
        tensors = {ours.get(name, name): tensor for name, tensor in tensors.items()}
    check_weights(cast("Weights", tensors), spec, where=str(path))  # of the shapes, before a copy
    return {name: to_numpy(tensors[name]) for name in s.weight_shapes(spec)}


def describe_checkpoint(path: Path) -> dict[str, Any]:
    """Reads the number of classes of a state_dict: the length of its last tensor, a bias.

    A file that torchvision publishes also has class names.
    """
    tensors = list(_load_tensors(path).values())
    found: dict[str, Any] = {}
    if tensors and tensors[-1].ndim:
        found["num_classes"] = len(tensors[-1])
    if published_of(path) is not None:
        from torchvision.models import AlexNet_Weights  # noqa: PLC0415 - takes a second

        found["class_names"] = tuple(AlexNet_Weights.IMAGENET1K_V1.meta["categories"])
    return found


def write_checkpoint(path: Path, spec: Spec, weights: Weights) -> None:
    """Writes weights of the canonical layout as a state_dict.

    Torchvision's alexnet can load that of the torchvision variant.
    """
    check_weights(weights, spec)
    names = torchvision_names(spec) if spec.name == "torchvision" else {}
    tensors = {names.get(n, n): torch.from_numpy(array) for n, array in weights.items()}
    with path.open("wb") as file:  # torch.save would write the name of a path into the file
        torch.save(tensors, file)


def _load_tensors(path: Path) -> dict[str, Tensor]:
    check_uncompressed(path)
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: there is no such file.") from error
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: holds more than tensors, or is damaged; no code in it was run. Save "
            "`model.state_dict()` instead of the model."
        ) from error
    except Exception as error:  # a text file raises any kind, by its first letter
        raise WeightsError(
            f"{path}: is not a file of torch.save, or it is damaged ({type(error).__name__}: "
            f"{_line(error)}). Give a file that torch.save(model.state_dict(), PATH) wrote."
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise WeightsError(f"{path}: holds a {type(content).__name__}, not a state_dict.")
    for name, tensor in content.items():
        if not _is_plain(tensor):
            raise WeightsError(
                f"{path}: {name} is a {tensor.layout} tensor of {tensor.dtype}, perhaps expanded; "
                "only dense tensors of integers or floats are read."
            )
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


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
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
