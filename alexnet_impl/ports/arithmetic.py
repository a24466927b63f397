"""NumPy versions of a user's layers and of the operations between two layers.

Maps have shape (batch, channels, height, width), rows (batch, features), weights the canonical
layout. An empty array means that the operation cannot be computed.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from alexnet_impl.frameworks.user_model import (
    Operation,
    UserLayer,
    ZeroPadding,
    pair_of,
    same_sides,
)
from alexnet_impl.parity.reference import convolve, squares_over, windows
from alexnet_impl.ports.pairing import whole_padding
from alexnet_impl.stats.accuracy import softmax
from alexnet_impl.weights.canonical import Array, Weights


def compute_layer(layer: UserLayer, inputs: Array, weights: Weights) -> Array:
    """Compute a layer's output.

    Args:
        layer: A convolution, dense layer or batch normalisation.
        inputs: Its input without zero padding: maps (batch, channels, height, width) or rows
            (batch, features).
        weights: Its weights by short name.

    Returns:
        Maps or rows; empty for another kind of layer.
    """
    match layer.kind:
        case "conv":
            return convolve_layer(layer, whole_padding(layer), inputs, weights)
        case "dense":
            return np.asarray(inputs @ weights["weight"].T + weights.get("bias", 0.0))
        case "batchnorm":
            return normalise(inputs, weights, layer.epsilon)
        case "other":
            return np.empty(0)


def convolve_layer(
    layer: UserLayer, padding: ZeroPadding, inputs: Array, weights: Weights
) -> Array:
    """Convolve inputs (batch, channels, height, width) with this padding; empty if impossible."""
    kernel = weights["weight"]
    maps = np.pad(inputs, ((0, 0), (0, 0), *padding))
    extent = [(k - 1) * d + 1 for k, d in zip(kernel.shape[2:], layer.dilation, strict=True)]
    too_small = any(size < wide for size, wide in zip(maps.shape[2:], extent, strict=True))
    if too_small or maps.shape[1] != kernel.shape[1] * layer.groups:
        return np.empty(0)
    outputs = convolve(maps, kernel, layer.stride, groups=layer.groups, dilation=layer.dilation)
    return np.asarray(outputs + weights.get("bias", np.zeros(1)).reshape(1, -1, 1, 1))


def normalise(inputs: Array, weights: Weights, epsilon: float) -> Array:
    """Normalise inputs (batch, channels, ...) by running statistics."""
    shape = (1, -1) + (1,) * (inputs.ndim - 2)
    mean, variance = weights["running_mean"], weights["running_var"]
    scaled = (inputs - mean.reshape(shape)) / np.sqrt(variance.reshape(shape) + epsilon)
    gamma, beta = weights.get("weight", np.ones(1)), weights.get("bias", np.zeros(1))
    return np.asarray(scaled * gamma.reshape(shape) + beta.reshape(shape))


def compute_operations(operations: Sequence[Operation], values: Array) -> Array:
    """Apply a chain of operations; empty if one of them is unknown.

    Args:
        operations: In the order of the computation.
        values: Maps (batch, channels, height, width) or rows (batch, features).
    """
    for operation in operations:
        if not values.size:
            break
        values = _compute_operation(operation, values)
    return values


def _compute_operation(operation: Operation, values: Array) -> Array:
    compute = OPERATIONS.get(operation.kind)
    if compute is None or (operation.kind in ON_MAPS and values.ndim != 4):
        return np.empty(0)
    return np.asarray(compute(values, operation.numbers))


def _norm(values: Array, numbers: dict[str, Any]) -> Array:
    """PyTorch's LRN across channels: x / (k + alpha / size * sum of squares) ** beta."""
    size = numbers["size"]
    alpha, beta, k = (numbers.get(n, d) for n, d in (("alpha", 1e-4), ("beta", 0.75), ("k", 1.0)))
    return np.asarray(values / (k + alpha / size * squares_over(values, size)) ** beta)


def _sides(values: Array, numbers: dict[str, Any]) -> Any:
    if numbers["padding"] != "same":
        return numbers["padding"]
    size, stride = pair_of(numbers["size"]), pair_of(numbers["stride"])
    return same_sides(values.shape[2:], size, stride)


def _windows(values: Array, numbers: dict[str, Any], fill: float) -> Array:
    """Windows of a pooling, shape (batch, channels, rows, columns, height, width)."""
    size, stride = pair_of(numbers["size"]), pair_of(numbers["stride"])
    sides = [list(pair) for pair in _sides(values, numbers)]
    if numbers.get("ceil"):
        for axis in (0, 1):
            beyond = (values.shape[2 + axis] + sum(sides[axis]) - size[axis]) % stride[axis]
            sides[axis][1] += (stride[axis] - beyond) % stride[axis]
    maps = np.pad(values, ((0, 0), (0, 0), *map(tuple, sides)), constant_values=fill)
    if maps.shape[2] < size[0] or maps.shape[3] < size[1]:
        return np.empty((0, 0, 0, 0, 1, 1))
    return windows(maps, size, stride)


def _adaptive(values: Array, numbers: dict[str, Any]) -> Array:
    """Means over a grid of windows that covers the map, divided as in PyTorch."""
    for axis, count in zip((2, 3), pair_of(numbers["size"]), strict=True):
        size = values.shape[axis]
        parts = [
            values.take(range(i * size // count, -(-(i + 1) * size // count)), axis)
            for i in range(count or size)
        ]
        values = np.concatenate([part.mean(axis, keepdims=True) for part in parts], axis)
    return values


OPERATIONS: dict[str, Callable[[Array, dict[str, Any]], Array]] = {
    "relu": lambda values, _: np.maximum(values, 0),
    "sigmoid": lambda values, _: 1 / (1 + np.exp(-values)),
    "tanh": lambda values, _: np.tanh(values),
    "softmax": lambda values, _: softmax(values),
    "log_softmax": lambda values, _: np.log(softmax(values)),
    "lrn": _norm,
    "max_pool": lambda values, numbers: _windows(values, numbers, -np.inf).max((-2, -1)),
    "avg_pool": lambda values, numbers: _windows(values, numbers, 0).mean((-2, -1)),
    "adaptive_avg_pool": _adaptive,
    "flatten": lambda values, _: values.reshape(len(values), -1),
    "dropout": lambda values, _: values,
    "scale": lambda values, numbers: values * numbers["by"] + numbers["plus"],
    "bgr": lambda values, _: values[:, ::-1],
}
ON_MAPS = ("lrn", "max_pool", "avg_pool", "adaptive_avg_pool")
