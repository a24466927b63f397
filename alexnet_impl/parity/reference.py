"""What the Spec and the Recipe say, computed in plain NumPy: the judge where two frameworks differ.

Maps are (batch, channels, height, width), weights in the canonical layout.
"""

import math
from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

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
from alexnet_impl.weights.canonical import Weights, inner_kernels

Array = NDArray[Any]


def forward(spec: Spec, weights: Weights, images: Array) -> Activations:
    """The output of every layer, without dropout.

    Args:
        spec: The network.
        weights: Its weights.
        images: What the first layer reads, (batch, channels, height, width).

    Returns:
        Every layer's output in the type of the images, by name.
    """
    outputs: Activations = {}
    values = images
    for layer in spec.layers:
        values = _layer(layer, values, weights)
        outputs[layer.name] = values
    return outputs


def _layer(layer: Layer, values: Array, weights: Weights) -> Array:
    match layer:
        case Conv():
            return _conv(layer, values, weights)
        case MaxPool(kernel_size=size, stride=stride):
            return np.asarray(_windows(values, size, stride).max(axis=(4, 5)))
        case LocalResponseNorm():
            return _norm(layer, values)
        case Dense(name=name):
            return np.asarray(values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"])
        case Relu() | Flatten() | Dropout() | GlobalAveragePool():
            return _without_numbers(layer, values)
        case Backbone():
            raise SpecError(f"{layer.name}: is its library's own; there is no reference for it.")
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


def _windows(values: Array, size: int, stride: int) -> Array:
    """(batch, channels, rows, columns, size, size), without copying."""
    return sliding_window_view(values, (size, size), (2, 3))[:, :, ::stride, ::stride]


def _conv(layer: Conv, values: Array, weights: Weights) -> Array:
    kernel, bias = weights[f"{layer.name}.weight"], weights[f"{layer.name}.bias"]
    sides = layer.padding
    padded = np.pad(values, ((0, 0), (0, 0), sides, sides))
    parts = zip(np.split(padded, layer.groups, axis=1), np.split(kernel, layer.groups), strict=True)
    maps = [
        np.tensordot(_windows(part, layer.kernel_size, layer.stride), own, ((1, 4, 5), (1, 2, 3)))
        for part, own in parts
    ]  # each (batch, rows, columns, out)
    return np.asarray(np.concatenate(maps, axis=3).transpose(0, 3, 1, 2) + bias[:, None, None])


def _norm(layer: LocalResponseNorm, values: Array) -> Array:
    radius = layer.size // 2
    squares = np.pad(values**2, ((0, 0), (radius, radius), (0, 0), (0, 0)))
    total = sliding_window_view(squares, layer.size, 1).sum(axis=-1)
    return np.asarray(values / (layer.k + layer.alpha * total) ** layer.beta)


def loss(logits: Array, labels: Labels, recipe: Recipe) -> float:
    """Mean cross-entropy as Recipe.loss_input and label_smoothing say."""
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
    """What a step leaves: weights, and what the optimiser keeps, named as in Trainer.state()."""

    weights: Weights
    slots: Weights


def update(
    recipe: Recipe, weights: Weights, gradients: Weights, state: Weights, rate: float
) -> Updated:
    """The weights and the optimiser's slots after one step.

    Args:
        recipe: Its optimiser.
        weights: Before the step.
        gradients: Of the loss alone.
        state: Of a trainer before the step, which Trainer.state() gives.
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
    """Muon's matrix for this one: all its singular values drawn towards 1."""
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
