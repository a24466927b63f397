"""NumPy reference of layers, loss and updates: it decides which of two frameworks is wrong.

Maps have shape (batch, channels, height, width), weights the canonical layout.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from alexnet_impl.errors import SpecError
from alexnet_impl.frameworks import Activations, Labels
from alexnet_impl.network.spec import (
    Backbone,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Layer,
    LocalResponseNorm,
    MaxPool,
    Relu,
    Spec,
)
from alexnet_impl.recipe.recipe import (
    MOMENTUM_OPTIMIZERS,
    NEWTON_SCHULZ,
    NEWTON_SCHULZ_STEPS,
    Recipe,
)
from alexnet_impl.weights.canonical import Array, Weights, inner_kernels


def forward(spec: Spec, weights: Weights, images: Array) -> Activations:
    """Compute the output of every layer, without dropout.

    Args:
        spec: The network.
        weights: Its weights in the canonical layout.
        images: Input of the first layer, shape (batch, channels, height, width).

    Returns:
        Outputs by layer name, in the dtype of the images: maps (batch, channels, height, width) or
        rows (batch, features).
    """
    outputs: Activations = {}
    values = images
    for layer in spec.layers:
        values = _layer(layer, values, weights)
        outputs[layer.name] = values
    return outputs


def _layer(layer: Layer, values: Array, weights: Weights) -> Array:
    match layer:
        case Conv(name=name, stride=stride, groups=groups):
            padded = np.pad(values, ((0, 0), (0, 0), layer.padding, layer.padding))
            kernel, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
            maps = convolve(padded, kernel, (stride, stride), groups=groups)
            return np.asarray(maps + bias[:, None, None])
        case MaxPool(kernel_size=size, stride=stride):
            return np.asarray(windows(values, (size, size), (stride, stride)).max(axis=(4, 5)))
        case LocalResponseNorm(size=size, alpha=alpha, beta=beta, k=k):
            return np.asarray(values / (k + alpha * squares_over(values, size)) ** beta)
        case Dense(name=name):
            return np.asarray(values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"])
        case Relu() | Flatten() | Dropout() | GlobalAveragePool():
            return _without_numbers(layer, values)
        case Backbone():
            raise SpecError(f"{layer.name}: a library's backbone has no NumPy reference.")
        case _:
            assert_never(layer)


def _without_numbers(layer: Relu | Flatten | Dropout | GlobalAveragePool, values: Array) -> Array:
    match layer:
        case Relu():
            return np.maximum(values, 0)
        case Flatten():
            return values.reshape(len(values), -1)
        case Dropout():
            return values
        case GlobalAveragePool():
            return np.asarray(values.mean(axis=(2, 3)))


def windows(maps: Array, size: Sequence[int], stride: Sequence[int]) -> Array:
    """Sliding windows of maps, as a view.

    Args:
        maps: Shape (batch, channels, height, width), padded already.
        size: (height, width) of a window.
        stride: (vertical, horizontal).

    Returns:
        Shape (batch, channels, rows, columns, window height, window width).
    """
    return sliding_window_view(maps, size, (2, 3))[:, :, :: stride[0], :: stride[1]]


def convolve(
    maps: Array,
    kernel: Array,
    stride: Sequence[int],
    *,
    groups: int = 1,
    dilation: Sequence[int] = (1, 1),
) -> Array:
    """Cross-correlation without bias, group by group.

    Args:
        maps: Shape (batch, channels, height, width), padded already.
        kernel: Shape (out_channels, channels / groups, height, width).
        stride: (vertical, horizontal).
        groups: Blocks of neighbouring channels that are convolved separately.
        dilation: (vertical, horizontal).

    Returns:
        Shape (batch, out_channels, rows, columns).
    """
    extent = [(k - 1) * d + 1 for k, d in zip(kernel.shape[2:], dilation, strict=True)]
    views = windows(maps, extent, stride)[..., :: dilation[0], :: dilation[1]]
    parts = zip(np.split(views, groups, axis=1), np.split(kernel, groups), strict=True)
    outputs = [np.tensordot(part, own, ((1, 4, 5), (1, 2, 3))) for part, own in parts]
    return np.concatenate(outputs, axis=3).transpose(0, 3, 1, 2)


def squares_over(maps: Array, size: int) -> Array:
    """Sum of squares over a window of `size` neighbouring channels, of the shape of the maps."""
    sides = (size // 2, (size - 1) // 2)
    squares = np.pad(maps**2, ((0, 0), sides, (0, 0), (0, 0)))
    return np.asarray(sliding_window_view(squares, size, 1).sum(axis=-1))


def loss(logits: Array, labels: Labels, recipe: Recipe) -> float:
    """Mean cross-entropy of logits (batch, classes), see Recipe.loss_input and label_smoothing."""
    values = _log_softmax(logits)
    if recipe.loss_input == "softmax-twice":
        values = _log_softmax(np.exp(values))
    elif recipe.loss_input == "probabilities":
        values = np.log(np.clip(np.exp(values), 1e-7, 1 - 1e-7))
    picked = values[np.arange(len(labels)), labels]
    smoothing = recipe.label_smoothing
    return float(-np.mean((1 - smoothing) * picked + smoothing * values.mean(axis=1)))


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Updated:
    """Weights after a step, and the optimiser's slots, named as in Trainer.state()."""

    weights: Weights
    slots: Weights


def update(
    recipe: Recipe, weights: Weights, gradients: Weights, state: Weights, rate: float
) -> Updated:
    """Compute one step of the recipe's optimiser.

    Args:
        recipe: The optimiser and its numbers.
        weights: Weights before the step, in the canonical layout.
        gradients: Gradients of the loss, without weight decay, by name of the weight.
        state: Trainer.state() before the step.
        rate: The learning rate.
    """
    clipped = _clip(recipe, gradients)
    orthogonal = inner_kernels({name: weight.ndim for name, weight in weights.items()})
    step = int(state["optimizer.step"]) + 1
    after: Weights = {}
    kept: Weights = {}
    for name, weight in weights.items():
        slots = {
            slot: state.get(f"optimizer.{name}.{slot}", np.zeros_like(weight))
            for slot in ("momentum", "first", "second")
        }
        if recipe.optimizer == "muon" and name in orthogonal:
            after[name], new = _muon(recipe, weight, clipped[name], slots["momentum"], rate)
        else:
            after[name], new = _updated(recipe, weight, clipped[name], slots, (rate, step))
        kept |= {f"optimizer.{name}.{slot}": array for slot, array in new.items()}
    return Updated(weights=after, slots=kept)


def _clip(recipe: Recipe, gradients: Weights) -> Weights:
    if recipe.clip_norm is None:
        return gradients
    norm = math.sqrt(sum(float(np.sum(np.square(g))) for g in gradients.values()))
    factor = min(1.0, recipe.clip_norm / (norm + 1e-6))
    return {name: gradient * factor for name, gradient in gradients.items()}


def _updated(
    recipe: Recipe, weight: Array, gradient: Array, slots: Weights, when: tuple[float, int]
) -> tuple[Array, Weights]:
    rate, _ = when
    if recipe.weight_decay and (weight.ndim > 1 or recipe.weight_decay_on == "all"):
        if recipe.optimizer in ("sgdw", "adamw"):
            weight = weight - rate * recipe.weight_decay * weight
        else:
            gradient = gradient + recipe.weight_decay * weight
    if recipe.optimizer in MOMENTUM_OPTIMIZERS:
        return _sgd(recipe, weight, gradient, slots["momentum"], rate)
    return _adam(recipe, weight, gradient, slots, when)


def _sgd(
    recipe: Recipe, weight: Array, gradient: Array, buffer: Array, rate: float
) -> tuple[Array, Weights]:
    inside = recipe.momentum_formula == "keras"
    step = rate * gradient if inside else gradient
    if recipe.momentum:
        buffer = recipe.momentum * buffer + step
        step = step + recipe.momentum * buffer if recipe.nesterov else buffer
    kept: Weights = {"momentum": buffer} if recipe.momentum else {}
    return weight - (step if inside else rate * step), kept


def _muon(
    recipe: Recipe, kernel: Array, gradient: Array, buffer: Array, rate: float
) -> tuple[Array, Weights]:
    buffer = recipe.momentum * buffer + gradient
    step = gradient + recipe.momentum * buffer if recipe.nesterov else buffer
    matrix = step.reshape(len(step), -1)
    scale = recipe.muon_scale * math.sqrt(max(1, matrix.shape[0] / matrix.shape[1]))
    moved = rate * scale * orthogonal_step(matrix).reshape(kernel.shape)
    return kernel - moved, {"momentum": buffer} if recipe.momentum else {}


def orthogonal_step(matrix: Array) -> Array:
    """Muon's orthogonalised update of a matrix of shape (out, in), of the same shape.

    Its singular values are moved towards 1.
    """
    a, b, c = NEWTON_SCHULZ
    x: Array = matrix / (np.linalg.norm(matrix) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def _adam(
    recipe: Recipe, weight: Array, gradient: Array, slots: Weights, when: tuple[float, int]
) -> tuple[Array, Weights]:
    rate, step = when
    first = recipe.beta1 * slots["first"] + (1 - recipe.beta1) * gradient
    second = recipe.beta2 * slots["second"] + (1 - recipe.beta2) * gradient**2
    one, two = 1 - recipe.beta1**step, 1 - recipe.beta2**step
    if recipe.epsilon_formula == "keras":
        moved = rate * math.sqrt(two) / one * first / (np.sqrt(second) + recipe.epsilon)
    else:
        moved = rate * (first / one) / (np.sqrt(second / two) + recipe.epsilon)
    return weight - moved, {"first": first, "second": second}
