"""Layers with weights of a user's keras.Model, and what they declare."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from alexnet_impl.errors import FrameworkError
from alexnet_impl.frameworks.user_model import (
    LayerCall,
    LayerKind,
    UserLayer,
    ZeroPadding,
    flatten_facts,
    pair_of,
    same_sides,
    sequence_kernel,
    squeezed,
)
from alexnet_impl.weights.canonical import Array

SHORT = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "alpha": "weight",
}
"""Keras's names of weights to PyTorch's, where they differ."""
STATISTICS = ("running_mean", "running_var")
NORMS = (keras.layers.LayerNormalization, keras.layers.GroupNormalization)
TRANSPOSED, SEPARABLE = keras.layers.Conv2DTranspose, keras.layers.SeparableConv2D
ATTENTION = keras.layers.MultiHeadAttention
Layout = Callable[[Array], Array]


def _same(array: Array) -> Array:
    return array


def _turned(array: Array) -> Array:
    return array.T


@dataclass(frozen=True, slots=True)
class Weight:
    """A weight of a layer.

    Attributes:
        variable: Keras's variable.
        to_torch: From its layout to PyTorch's.
        to_keras: The way back.
    """

    variable: keras.Variable
    to_torch: Layout = _same
    to_keras: Layout = _same

    def of(self, values: Any) -> Array:
        """Copy values of the variable's shape, such as its gradient, into PyTorch's shape."""
        array = keras.ops.convert_to_numpy(values)
        return np.ascontiguousarray(self.to_torch(array)).copy()


class OwnVariable:
    """A variable that belongs to no layer of Keras, such as the class token of a transformer."""

    def __init__(self, name: str, variable: keras.Variable) -> None:
        self.name, self.variable = name, variable


class Half:
    """Half of a separable convolution: its depthwise or its pointwise one."""

    def __init__(self, layer: keras.layers.SeparableConv2D, *, depthwise: bool) -> None:
        self.name = f"{layer.name}.{'depthwise' if depthwise else 'pointwise'}"
        self.depthwise, self.whole = depthwise, layer
        self.kernel = layer.depthwise_kernel if depthwise else layer.pointwise_kernel
        self.bias = None if depthwise else layer.bias
        self.strides = layer.strides if depthwise else (1, 1)
        self.dilation_rate = layer.dilation_rate if depthwise else (1, 1)
        self.padding = layer.padding if depthwise else "valid"
        self.activation = None if depthwise else layer.activation

    def halfway(self, inputs: Any) -> Any:
        """The output of the depthwise half for maps (batch, height, width, channels)."""
        return keras.ops.depthwise_conv(
            inputs, self.kernel, self.strides, self.padding, "channels_last", self.dilation_rate
        )


def weights_of(layer: Any) -> dict[str, Weight]:
    """A layer's weights by PyTorch's short names; those of the layers inside it count as its."""
    if isinstance(layer, OwnVariable):
        return {"weight": Weight(layer.variable)}
    if isinstance(layer, keras.layers.Normalization):
        return {}  # its numbers are those of the data
    if isinstance(layer, ATTENTION):
        return dict(_attention_weights(layer))
    if isinstance(layer, Half):
        variables = {"weight": layer.kernel, "bias": layer.bias}
    else:
        variables = {
            SHORT.get(variable.name, variable.name): variable
            for variable in layer.weights
            if "float" in str(variable.dtype)
        }
        if len(variables) == 1 and not variables.keys() & {"bias", *STATISTICS}:
            variables = {"weight": next(iter(variables.values()))}
    return {
        short: Weight(variable, *(_kernel_layout(layer, variable) if short == "weight" else ()))
        for short, variable in variables.items()
        if variable is not None
    }


def _attention_weights(layer: keras.layers.MultiHeadAttention) -> Iterator[tuple[str, Weight]]:
    """The weights of the four projections, whose heads PyTorch keeps in one axis."""
    ends = {"query": "query", "key": "key", "value": "value", "out": "output"}
    for short, name in ends.items():
        dense = getattr(layer, f"_{name}_dense")
        shape, into = dense.kernel.shape, (-1, dense.kernel.shape[-1])
        if short != "out":  # (features, heads, size of a head)
            into = (shape[0], -1)
        yield f"{short}_weight", Weight(dense.kernel, *_reshaped(into, shape))
        if dense.bias is not None:
            yield f"{short}_bias", Weight(dense.bias, *_reshaped((-1,), dense.bias.shape))


def _reshaped(into: tuple[int, ...], shape: tuple[int, ...]) -> tuple[Layout, Layout]:
    """A layout of another shape and turned, and the way back."""
    return lambda a: a.reshape(into).T, lambda a: a.T.reshape(shape)


def own_variables(layer: Any) -> list[OwnVariable]:
    """The variables of a layer that are not those of layers inside it."""
    inner = {id(variable) for child in layer._layers for variable in child.weights}  # noqa: SLF001 - the children
    return [
        OwnVariable(f"{layer.name}.{variable.name}", variable)
        for variable in layer.weights
        if id(variable) not in inner and "float" in str(variable.dtype)
    ]


def is_whole(layer: Any) -> bool:
    """Whether a layer with weights and none inside it is one layer, and no holder of variables."""
    names = set(weights_of(layer))
    known = names <= {"weight", "bias", *STATISTICS}
    return known or type(layer).__module__.startswith("keras.")


def values_of(layer: Any, values: Any) -> Array:
    """Values of a layer, maps as (batch, channels, height, width)."""
    array: Array = keras.ops.convert_to_numpy(values)
    if array.ndim == MAPS:
        array = array.transpose(0, 3, 1, 2)
    elif array.ndim == SEQUENCES and isinstance(layer, ON_CHANNELS):
        array = array.transpose(0, 2, 1)
    return np.ascontiguousarray(array)


MAPS, SEQUENCES = 4, 3
"""Dimensions of maps (batch, height, width, channels), of sequences (batch, length, channels)."""
ON_CHANNELS = (
    keras.layers.Conv1D,
    keras.layers.BatchNormalization,
    keras.layers.GroupNormalization,
)
"""Layers whose sequences have their channels in the second place in PyTorch."""


KINDS: tuple[tuple[LayerKind, Any], ...] = (
    ("parameter", OwnVariable),
    ("attention", ATTENTION),
    ("batchnorm", keras.layers.BatchNormalization),
    ("embedding", keras.layers.Embedding),
    ("transposed", TRANSPOSED),
)
"""Kinds of layers and Keras's classes."""


def kind_of(layer: Any) -> LayerKind:
    """Kind of a layer; a custom layer with kernel and bias is classified by the kernel's rank."""
    known = next((kind for kind, layers in KINDS if isinstance(layer, layers)), None)
    if known is not None:
        return known
    weights = weights_of(layer)
    if "weight" not in weights or not set(weights) <= {"weight", "bias"}:
        return "other"
    kernel = weights["weight"].variable
    if not _is_kernel(layer, kernel):
        return "other"
    if len(kernel.shape) == MAPS or isinstance(layer, keras.layers.Conv1D):
        return "conv"
    return "dense" if len(kernel.shape) == ROWS else "other"


def _is_kernel(layer: Any, variable: keras.Variable) -> bool:
    """Whether a weight has a kernel's axes: its name says so."""
    return isinstance(layer, Half) or variable.name in SHORT or variable.name == "weight"


ROWS = 2
"""Dimensions of a dense layer's kernel (features, out)."""


def _kernel_layout(layer: Any, kernel: keras.Variable) -> tuple[Layout, Layout]:
    """How a layer's kernel takes PyTorch's layout, and its own again."""
    shape = kernel.shape
    if not _is_kernel(layer, kernel):
        return _same, _same
    if isinstance(layer, keras.layers.PReLU):  # alpha (1, 1, channels)
        return lambda a: a.reshape(-1), lambda a: a.reshape(shape)
    if is_depthwise(layer):
        height, width, channels, multiple = shape
        return (
            lambda a: a.transpose(2, 3, 0, 1).reshape(-1, 1, height, width),
            lambda a: a.reshape(channels, multiple, height, width).transpose(2, 3, 0, 1),
        )
    if len(shape) == MAPS:
        return lambda a: a.transpose(3, 2, 0, 1), lambda a: a.transpose(2, 3, 1, 0)
    if isinstance(layer, keras.layers.Conv1D) or len(shape) == ROWS:
        return _turned, _turned
    return _same, _same


def is_depthwise(layer: Any) -> bool:
    """Whether a layer convolves each channel alone."""
    return isinstance(layer, keras.layers.DepthwiseConv2D) or getattr(layer, "depthwise", False)


def user_layer(call: LayerCall) -> UserLayer:
    """Describe a layer, as seen in a call."""
    layer, kind, weights = call.layer, kind_of(call.layer), weights_of(call.layer)
    training: dict[str, Any] = {"penalties": _parts(layer, "regularizer")}
    training["constraints"] = _parts(layer, "constraint")
    if kind == "batchnorm":
        training["momentum"] = 1 - layer.momentum
    shapes = {short: weight.of(weight.variable).shape for short, weight in weights.items()}
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
            if not weight.variable.trainable and short not in STATISTICS
        ),
        before=call.before,
        follows=call.follows,
        pooled=call.pooled,
        training={key: value for key, value in training.items() if value not in ({}, None)},
        **facts,
    )


def _facts(call: LayerCall, kind: LayerKind, kernel: tuple[int, ...]) -> dict[str, Any]:
    layer = call.layer
    if kind == "conv" and call.inputs is not None:
        is_flat = isinstance(layer, keras.layers.Conv1D)
        own = {"own_shape": kernel} if is_flat else {}
        return _convolution(layer, kernel[2:], call.inputs) | own
    if kind == "dense":
        return flatten_facts(call.maps, call.inputs)
    if kind == "batchnorm" or isinstance(layer, NORMS):
        return {"epsilon": layer.epsilon}
    others: dict[str, Callable[[], dict[str, Any]]] = {
        "transposed": lambda: {
            "stride": pair_of(layer.strides),
            "padding_name": layer.padding,
        },
        "attention": lambda: {"heads": layer.num_heads},
        "parameter": lambda: {"own_shape": kernel},
    }
    return others[kind]() if kind in others else {}


def _parts(layer: keras.layers.Layer, what: str) -> dict[str, str]:
    """The weights of a layer, or its outputs, that have a regularizer or a constraint."""
    found = {}
    for part in ("kernel", "depthwise", "pointwise", "bias", "gamma", "beta", "activity"):
        value = getattr(layer, f"{part}_{what}", None)
        if value is not None:
            config = value.get_config() if hasattr(value, "get_config") else {}
            numbers = ", ".join(f"{k}={v:g}" for k, v in config.items() if isinstance(v, float))
            found[part] = f"{getattr(value, '__name__', type(value).__name__)}({numbers})"
    return found


def _convolution(
    layer: keras.layers.Layer, kernel_size: tuple[int, ...], inputs: Array
) -> dict[str, Any]:
    """Settings of a convolution; a custom layer without an attribute gets Keras's default.

    A convolution over a sequence has a height of 1.
    """
    if getattr(layer, "data_format", "channels_last") == "channels_first":
        raise FrameworkError(
            f"tensorflow: {layer.name} keeps its maps channels-first; build the model with "
            "data_format='channels_last'."
        )
    is_flat = len(kernel_size) == 1
    sizes = (inputs.shape[2:], kernel_size)
    if is_flat:
        sizes = ((1, *sizes[0]), (1, *sizes[1]))
    numbers = {}
    for key, name in (("stride", "strides"), ("dilation", "dilation_rate")):
        number = getattr(layer, name, 1)
        numbers[key] = (1, pair_of(number)[1]) if is_flat else pair_of(number)
    name = str(getattr(layer, "padding", "valid"))
    padding: ZeroPadding = ((0, 0), (0, 0))
    if name == "same":
        padding = same_sides(*sizes, numbers["stride"], numbers["dilation"])
    elif name == "causal":
        padding = ((0, 0), ((kernel_size[0] - 1) * numbers["dilation"][1], 0))
    return {
        **numbers,
        "groups": inputs.shape[1] if is_depthwise(layer) else getattr(layer, "groups", 1),
        "padding": padding,
        "padding_name": name,
    }
