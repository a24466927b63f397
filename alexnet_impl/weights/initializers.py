"""Initial weights drawn in NumPy from the seed, the same for every framework."""

import math

import numpy as np

from alexnet_impl.errors import WeightsError
from alexnet_impl.network.spec import Conv, Dense, LayerTrace, Spec, trace
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights.canonical import Array, Weights


def initial_weights(spec: Spec, recipe: Recipe) -> Weights:
    """Draws initial weights in NumPy, so that all frameworks start from the same bytes.

    Each layer with weights has its own random stream, keyed by the seed and its index among them.
    So inserting a layer without weights changes nothing.

    Returns:
        float32 arrays in the canonical layout.
    """
    steps = [step for step in trace(spec).layers if step.weight_shapes]
    weights: Weights = {}
    for index, step in enumerate(steps):
        rng = np.random.default_rng([recipe.seed, index])
        kernel, bias = _draw(step, recipe, rng)
        if recipe.initializer == "he-dirac" and index > 0 and isinstance(step.layer, Conv):
            _pass_channels_on(kernel, step.layer.groups)
        bias = _bias(step, recipe, rng, bias)
        if step is steps[-1] and recipe.last_layer_std is not None:
            kernel = rng.standard_normal(kernel.shape) * recipe.last_layer_std
        weights[f"{step.layer.name}.weight"] = kernel.astype(np.float32)
        weights[f"{step.layer.name}.bias"] = bias.astype(np.float32)
    return weights


def _draw(step: LayerTrace, recipe: Recipe, rng: np.random.Generator) -> tuple[Array, Array]:
    shape = step.weight_shapes["weight"]
    num_out = shape[0]
    fan_in, fan_out = _fans(step)
    zeros = np.zeros(num_out)
    match recipe.initializer:
        case "torch-default":
            bound = 1 / math.sqrt(fan_in)
            return rng.uniform(-bound, bound, shape), rng.uniform(-bound, bound, num_out)
        case "keras-default":
            bound = math.sqrt(6 / (fan_in + fan_out))
            return rng.uniform(-bound, bound, shape), zeros
        case "paper":
            one = step.layer.name in _BIAS_ONE
            return rng.standard_normal(shape) * 0.01, np.full(num_out, float(one))
        case "he" | "he-dirac":
            return rng.standard_normal(shape) * math.sqrt(2 / fan_in), zeros


def _pass_channels_on(kernel: Array, groups: int) -> None:
    """Makes filter i of each group the identity of its input channel i, as far as there are any.

    The kernel, (out_channels, in_channels / groups, height, width), is changed in place.
    """
    out_channels, in_channels, height, width = kernel.shape
    count = min(out_channels // groups, in_channels)
    for first in range(0, out_channels, out_channels // groups):
        kernel[first : first + count] = 0
        places = np.arange(count)
        kernel[first + places, places, height // 2, width // 2] = 1


def _bias(step: LayerTrace, recipe: Recipe, rng: np.random.Generator, own: Array) -> Array:
    """Returns the bias of Recipe.bias_initializer; `own` is the initializer's."""
    match recipe.bias_initializer:
        case "own":
            return own
        case "zeros":
            return np.zeros_like(own)
        case "uniform":
            bound = 1 / math.sqrt(_fans(step)[0])
            return rng.uniform(-bound, bound, own.shape)


_BIAS_ONE = frozenset({"conv2", "conv4", "conv5", "fc1", "fc2"})
"""Krizhevsky et al. 2012, section 5: 'the second, fourth, and fifth convolutional layers, as well
as the fully-connected hidden layers'."""


def _fans(step: LayerTrace) -> tuple[int, int]:
    """Returns (fan_in, fan_out); fan_out as Keras counts it, not divided by the groups."""
    shape = step.weight_shapes["weight"]
    match step.layer:
        case Conv(kernel_size=size, out_channels=out_channels):
            return math.prod(shape[1:]), out_channels * size * size
        case Dense(out_features=out_features):
            return shape[1], out_features
        case _:
            raise WeightsError(f"{step.layer.name}: has no kernel to initialise.")
