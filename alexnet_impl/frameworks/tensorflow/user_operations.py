"""The layers without weights of a user's keras.Model, as operations in PyTorch's numbers."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from alexnet_impl.frameworks.tensorflow.user_layers import SEPARABLE, TRANSPOSED, kind_of
from alexnet_impl.frameworks.user_model import Operation, ZeroPadding, pair_of, same_sides

SPATIAL = (
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
)
FLATTENERS = (keras.layers.Flatten, keras.layers.Reshape)


def activation_of(layer: keras.layers.Layer) -> str:
    """The name of the activation that is part of a convolution or a dense layer, or ''."""
    activation = getattr(layer, "activation", None)
    has_kernel = kind_of(layer) in ("conv", "dense") or isinstance(layer, (TRANSPOSED, SEPARABLE))
    if not has_kernel or activation in (None, keras.activations.linear):
        return ""
    return _function_name(activation)


def _function_name(activation: Any) -> str:
    return str(getattr(activation, "__name__", getattr(activation, "name", "other")))


def before_activation(
    layer: keras.layers.Layer, original: Callable[..., Any], args: Any, kwargs: Any, outputs: Any
) -> Any:
    """The layer's output without its activation."""
    if not activation_of(layer):
        return outputs
    activation = layer.activation
    # object's, as Keras guards the attributes of a built layer
    object.__setattr__(layer, "activation", keras.activations.linear)
    try:
        return original(layer, *args, **kwargs)
    finally:
        object.__setattr__(layer, "activation", activation)


def operation_of(layer: keras.layers.Layer, inputs: Any, outputs: Any) -> Operation | None:
    """The call of a layer without weights as an Operation; None if it changes no value."""
    if isinstance(layer, keras.layers.Activation):
        if layer.activation is keras.activations.linear:
            return None
        return activation_operation(_function_name(layer.activation), layer.name, outputs)
    if isinstance(layer, keras.layers.ReLU):
        return _relu_operation(layer)
    kind = next((kind for kind, found in KINDS if found(layer)), "other")
    if isinstance(layer, FLATTENERS):
        kind = "flatten" if len(inputs.shape) > len(outputs.shape) else "other"
    if kind == "linear":
        return None
    numbers = NUMBERS[kind](layer, inputs, outputs) if kind in NUMBERS else {}
    return Operation(kind=kind, name=layer.name, numbers=numbers)


def _relu_operation(layer: keras.layers.ReLU) -> Operation:
    """A ReLU, ReLU6 or leaky ReLU; with a threshold or another maximum its kind is 'other'."""
    largest, slope = layer.max_value, float(layer.negative_slope)
    if layer.threshold != 0 or (largest is not None and (largest != 6 or slope)):
        return Operation(kind="other", name=layer.name, numbers={})
    if slope:
        return Operation(kind="leaky_relu", name=layer.name, numbers={"slope": slope})
    return Operation(kind="relu" if largest is None else "relu6", name=layer.name, numbers={})


def _is(*kinds: type) -> Callable[[keras.layers.Layer], bool]:
    return lambda layer: isinstance(layer, kinds)


KINDS: tuple[tuple[str, Callable[[keras.layers.Layer], bool]], ...] = (
    ("linear", _is(keras.layers.InputLayer, keras.layers.Identity)),
    ("softmax", _is(keras.layers.Softmax)),
    ("leaky_relu", _is(keras.layers.LeakyReLU)),
    ("elu", _is(keras.layers.ELU)),
    ("max_pool", _is(keras.layers.MaxPooling2D)),
    ("avg_pool", _is(keras.layers.AveragePooling2D)),
    ("adaptive_avg_pool", _is(keras.layers.GlobalAveragePooling2D)),
    ("adaptive_max_pool", _is(keras.layers.GlobalMaxPooling2D)),
    ("resize", _is(keras.layers.UpSampling2D, keras.layers.Resizing)),
    ("pad", _is(keras.layers.ZeroPadding2D)),
    ("scale", _is(keras.layers.Rescaling, keras.layers.Normalization)),
    ("permute", _is(keras.layers.Permute)),
    ("dropout", _is(keras.layers.Dropout, *SPATIAL, keras.layers.AlphaDropout)),
    ("noise", _is(keras.layers.GaussianNoise, keras.layers.GaussianDropout)),
)
"""Kind of an operation and the test that recognises its layer; the first match counts."""
PLAIN = (
    *("relu", "relu6", "selu", "silu", "mish", "softplus", "softsign", "tanh", "sigmoid"),
    *("hard_sigmoid", "hard_silu"),
)
"""Keras's activation functions without numbers that PyTorch has too."""
DEFAULTS: dict[str, dict[str, Any]] = {
    "softmax": {"axis": -1},
    "log_softmax": {"axis": -1},
    "leaky_relu": {"slope": 0.2},
    "elu": {"alpha": 1.0},
    "gelu": {"approximate": False},
}
"""Those with numbers, and their defaults."""


def activation_operation(activation: str, name: str, outputs: Any) -> Operation:
    """The call of an activation function that was given by its name."""
    kind = activation if activation in PLAIN or activation in DEFAULTS else "other"
    numbers = _channel_axis(DEFAULTS.get(kind, {}), outputs)
    return Operation(kind=kind, name=name, numbers=numbers)


def _channel_axis(numbers: dict[str, Any], outputs: Any) -> dict[str, Any]:
    """Numbers whose axis is that of PyTorch, where the channels come first."""
    rank = len(outputs.shape)
    order = [0, *range(2, rank), 1]
    axis = numbers.get("axis")
    return numbers if axis is None else numbers | {"axis": order[axis % rank]}


def _resize_numbers(layer: keras.layers.Layer, outputs: Any) -> dict[str, Any]:
    return {
        "size": tuple(outputs.shape[1:3]),
        "mode": layer.interpolation,
        "align_corners": False,
        "antialias": bool(getattr(layer, "antialias", False)),
    }


def _scale_numbers(layer: keras.layers.Layer) -> dict[str, Any]:
    """The factor and the summand of a layer that scales; Keras keeps both in float32."""
    if isinstance(layer, keras.layers.Rescaling):
        by, plus = np.asarray(layer.scale, "float32"), np.asarray(layer.offset, "float32")
    else:
        mean, variance = (np.ravel(a).astype(float) for a in (layer.mean, layer.variance))
        scale = np.maximum(np.sqrt(variance), keras.backend.epsilon())
        by, plus = (scale, mean) if layer.invert else (1 / scale, -mean / scale)
    numbers = {"by": by, "plus": plus}
    return {name: value.tolist() for name, value in numbers.items()}


def _dropout_numbers(layer: keras.layers.Layer) -> dict[str, Any]:
    shape = getattr(layer, "noise_shape", None)
    whole = isinstance(layer, SPATIAL) or (shape and all(size == 1 for size in shape[1:-1]))
    form = "alpha" if isinstance(layer, keras.layers.AlphaDropout) else "maps" if whole else "units"
    if shape and whole and shape[-1] == 1:
        form = "branches"
    return {"rate": layer.rate, "active": False, "form": form}


NUMBERS: dict[str, Callable[[keras.layers.Layer, Any, Any], dict[str, Any]]] = {
    "max_pool": lambda layer, inputs, _: _pool_numbers(layer, inputs),
    "avg_pool": lambda layer, inputs, _: _pool_numbers(layer, inputs) | {"counted": False},
    "adaptive_avg_pool": lambda *_: {"size": (1, 1)},
    "adaptive_max_pool": lambda *_: {"size": (1, 1)},
    "pad": lambda layer, *_: {"zeros": True, "sides": layer.padding},
    "scale": lambda layer, *_: _scale_numbers(layer),
    "dropout": lambda layer, *_: _dropout_numbers(layer),
    "noise": lambda layer, *_: {
        "rate": getattr(layer, "stddev", None) or getattr(layer, "rate", 0.0),
        "form": type(layer).__name__,
    },
    "softmax": lambda layer, _, outputs: _channel_axis({"axis": layer.axis}, outputs),
    "leaky_relu": lambda layer, *_: {"slope": float(layer.negative_slope)},
    "elu": lambda layer, *_: {"alpha": float(layer.alpha)},
    "resize": lambda layer, _, outputs: _resize_numbers(layer, outputs),
}
"""Kind of an operation to the numbers of its layer, from the layer, its inputs and its outputs."""


def _pool_numbers(layer: keras.layers.Layer, inputs: Any) -> dict[str, Any]:
    size, stride = pair_of(layer.pool_size), pair_of(layer.strides)
    padding: ZeroPadding = ((0, 0), (0, 0))
    if layer.padding == "same":
        padding = same_sides(inputs.shape[1:3], size, stride)
    return {"size": size, "stride": stride, "padding": padding, "ceil": False}
