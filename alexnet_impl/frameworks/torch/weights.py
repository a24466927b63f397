"""Canonical weights into and out of PyTorch, whose layout is the canonical one."""

from pathlib import Path

import torch
from torch import nn

from alexnet_impl.errors import WeightsError
from alexnet_impl.frameworks.torch.backbones import build_backbone, is_of_head
from alexnet_impl.frameworks.torch.stored_files import (
    load_tensors,
    read_stored,
    short_reason,
    to_numpy,
)
from alexnet_impl.network import spec as s
from alexnet_impl.network.spec import Spec
from alexnet_impl.weights.canonical import Weights, check_weights, is_of_backbone
from alexnet_impl.weights.matching import to_network, torchvision_names


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
        for name, tensor in load_tensors(path)[0].items()
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


def write_checkpoint(path: Path, spec: Spec, weights: Weights) -> None:
    """Writes weights of the canonical layout as a state_dict.

    Torchvision's alexnet can load that of the torchvision variant.
    """
    check_weights(weights, spec)
    names = torchvision_names(spec) if spec.name == "torchvision" else {}
    tensors = {names.get(n, n): torch.from_numpy(array) for n, array in weights.items()}
    with path.open("wb") as file:  # torch.save would write the name of a path into the file
        torch.save(tensors, file)


def _reason(error: BaseException) -> str:
    """Returns the first problem that load_state_dict lists."""
    lines = str(error).strip().splitlines()
    return " ".join(lines[1].split())[:300] if len(lines) > 1 else short_reason(error)
