"""Layers with weights of a user's nn.Module, and what they declare."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from alexnet_impl.errors import FrameworkError
from alexnet_impl.frameworks.user_model import (
    LayerCall,
    LayerKind,
    UserLayer,
    ZeroPadding,
    flatten_facts,
    pair_of,
    recurrent,
    same_sides,
    sequence_kernel,
    squeezed,
)
from alexnet_impl.weights.canonical import Array

STATISTICS = ("running_mean", "running_var")
SHORT = ("weight", "bias", *STATISTICS)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d)


class OwnParameter(nn.Module):
    """A parameter that belongs to no layer, such as the class token of a vision transformer."""

    def __init__(self, parameter: nn.Parameter) -> None:
        super().__init__()
        self.weight = parameter


@dataclass(frozen=True, slots=True)
class Weight:
    """A weight of a layer: a tensor of its module, or some of its rows.

    Attributes:
        name: Name of the tensor in the module.
        tensor: The tensor.
        rows: Its rows; None for all.
    """

    name: str
    tensor: Tensor
    rows: slice | None = None

    @property
    def values(self) -> Tensor:
        """The weight, of its own shape; it changes with the tensor."""
        return self.tensor if self.rows is None else self.tensor[self.rows]

    @property
    def gradient(self) -> Tensor | None:
        """The gradient of the weight, of its shape."""
        gradient = self.tensor.grad
        return gradient if gradient is None or self.rows is None else gradient[self.rows]


def weights_of(module: nn.Module) -> dict[str, Weight]:
    """A module's own parameters and running statistics by their short names."""
    if isinstance(module, nn.MultiheadAttention):
        return dict(_attention_weights(module))
    own = {**module._parameters, **module._buffers}  # noqa: SLF001 - without the children's
    names = [*module._parameters, *STATISTICS]  # noqa: SLF001
    return {name: Weight(name, value) for name in names if (value := own.get(name)) is not None}


def _attention_weights(module: nn.MultiheadAttention) -> Iterator[tuple[str, Weight]]:
    """The weights of the three projections of the inputs, which PyTorch stacks, and of the last."""
    for number, short in enumerate(("query", "key", "value")):
        rows = slice(number * module.embed_dim, (number + 1) * module.embed_dim)
        if not module._qkv_same_embed_dim:  # noqa: SLF001 - as its forward pass asks
            name = f"{short[0]}_proj_weight"
            yield f"{short}_weight", Weight(name, getattr(module, name))
        else:
            yield f"{short}_weight", Weight("in_proj_weight", module.in_proj_weight, rows)
        if module.in_proj_bias is not None:
            yield f"{short}_bias", Weight("in_proj_bias", module.in_proj_bias, rows)
    yield "out_weight", Weight("out_proj.weight", module.out_proj.weight)
    if module.out_proj.bias is not None:
        yield "out_bias", Weight("out_proj.bias", module.out_proj.bias)


def user_layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The layers with weights of a module, and parameters that belong to no layer, by their names.

    A module with parameters under names of its own, or with layers inside it, is no layer.
    """
    inside = ""
    for name, module in model.named_modules():
        weights = weights_of(module)
        if not weights or (inside and name.startswith(f"{inside}.")):
            continue
        if isinstance(module, nn.RNNBase):
            raise FrameworkError(f"torch: {recurrent(name)}")
        if isinstance(module, nn.MultiheadAttention):
            inside = name
        if _is_layer(module, weights):
            yield name, module
            continue
        for short, weight in weights.items():
            if isinstance(weight.tensor, nn.Parameter):
                yield f"{name}.{short}".lstrip("."), OwnParameter(weight.tensor)


def _is_layer(module: nn.Module, weights: dict[str, Weight]) -> bool:
    if type(module).__module__.startswith("torch.nn."):
        return True
    nested = any(weights_of(child) for child in module.modules() if child is not module)
    return not nested and (set(weights) <= set(SHORT) or isinstance(module, KNOWN))


KNOWN = (nn.MultiheadAttention, nn.Linear, *CONVOLUTIONS)


def values_of(module: nn.Module, values: Tensor) -> Tensor:
    """Values of a layer, maps as (batch, channels, height, width) wherever it has its channels."""
    return values.permute(0, 3, 1, 2) if values.ndim == MAPS and _is_last(module) else values


MAPS = 4
"""Dimensions of maps (batch, channels, height, width)."""


def _is_last(module: nn.Module) -> bool:
    """Whether a layer works on the last axis, so that its maps have their channels last."""
    if isinstance(module, nn.LayerNorm):
        # A subclass, such as torchvision's LayerNorm2d, may take maps with their channels first.
        is_plain = type(module).forward is nn.LayerNorm.forward
        return is_plain and len(module.normalized_shape) == 1
    return isinstance(module, nn.Linear)


def user_layer(call: LayerCall) -> UserLayer:
    """Describe a layer, as seen in a call."""
    module: nn.Module = call.layer
    weights = weights_of(module)
    shapes = {short: tuple(weight.values.shape) for short, weight in weights.items()}
    found = (kind for kind, modules in KINDS if isinstance(module, modules))
    kind: LayerKind = next(found, "other")
    facts = _facts(call, kind, shapes.get("weight", ()))
    if facts.get("own_shape"):
        shapes["weight"] = (sequence_kernel if kind == "conv" else squeezed)(shapes["weight"])
    return UserLayer(
        name=call.name,
        kind=kind,
        shapes=shapes,
        frozen=tuple(
            short
            for short, weight in weights.items()
            if isinstance(weight.tensor, nn.Parameter) and not weight.tensor.requires_grad
        ),
        before=call.before,
        follows=call.follows,
        pooled=call.pooled,
        **facts,
    )


KINDS: tuple[tuple[LayerKind, Any], ...] = (
    ("parameter", OwnParameter),
    ("conv", CONVOLUTIONS),
    ("transposed", nn.ConvTranspose2d),
    ("attention", nn.MultiheadAttention),
    ("dense", nn.Linear),
    ("embedding", nn.Embedding),
    ("batchnorm", nn.modules.batchnorm._BatchNorm),  # noqa: SLF001 - their base class
)
"""Kinds of layers and PyTorch's classes."""


def _facts(call: LayerCall, kind: LayerKind, kernel: tuple[int, ...]) -> dict[str, Any]:
    module = call.layer
    if kind == "conv" and call.inputs is not None:
        own = {"own_shape": kernel} if isinstance(module, nn.Conv1d) else {}
        return _convolution(module, call.inputs) | own
    if kind == "dense":
        return flatten_facts(call.maps, call.inputs)
    if kind == "batchnorm":
        training = {"momentum": module.momentum} if module.track_running_stats else {}
        return {"epsilon": module.eps, "training": training}
    if isinstance(module, NORMS):
        return {"epsilon": module.eps}
    others: dict[str, Callable[[], dict[str, Any]]] = {
        "transposed": lambda: _transposed(module),
        "attention": lambda: {"heads": module.num_heads},
        "parameter": lambda: {"own_shape": kernel},
    }
    return others[kind]() if kind in others else {}


def _convolution(module: nn.Conv1d | nn.Conv2d, inputs: Array) -> dict[str, Any]:
    """Numbers of a convolution as (vertical, horizontal); one over a sequence has a height of 1."""
    is_flat = isinstance(module, nn.Conv1d)
    numbers: dict[str, tuple[int, int]] = {
        name: (1, getattr(module, name)[0]) if is_flat else pair_of(getattr(module, name))
        for name in ("stride", "dilation", "kernel_size")
    }
    padding: ZeroPadding
    if module.padding == "same":
        sizes = (1, inputs.shape[2]) if is_flat else inputs.shape[2:]
        padding = same_sides(sizes, numbers["kernel_size"], (1, 1), numbers["dilation"])
    elif module.padding == "valid":
        padding = ((0, 0), (0, 0))
    else:
        given: Any = module.padding
        rows, columns = (0, given[0]) if is_flat else pair_of(given)
        padding = ((rows, rows), (columns, columns))
    return {
        "stride": numbers["stride"],
        "dilation": numbers["dilation"],
        "groups": module.groups,
        "padding": padding,
        "padding_name": module.padding if isinstance(module.padding, str) else "",
    }


def _transposed(module: nn.ConvTranspose2d) -> dict[str, Any]:
    rows, columns = pair_of(module.padding)
    return {
        "stride": pair_of(module.stride),
        "dilation": pair_of(module.dilation),
        "groups": module.groups,
        "padding": ((rows, rows), (columns, columns)),
        "output_padding": pair_of(module.output_padding),
    }


@torch.no_grad()
def changed_weights(module: nn.Module, weights: dict[str, Array]) -> dict[str, Tensor]:
    """Tensors of a module by name, with other arrays, of equal shapes, for some of its weights."""
    found: dict[str, Tensor] = {}
    own = weights_of(module)
    for short, array in weights.items():
        weight = own[short]
        tensor = found.setdefault(weight.name, weight.tensor.detach().clone())
        new = torch.from_numpy(np.ascontiguousarray(array)).to(tensor.dtype)
        if weight.rows is None:
            found[weight.name] = new.reshape(tensor.shape)
        else:
            tensor[weight.rows] = new
    return found
