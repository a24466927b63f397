"""The usual mistakes in a layer with weights: its padding, its numbers, its kernel's layout."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from alexnet_impl.frameworks.user_model import UserLayer, ZeroPadding, same_sides
from alexnet_impl.ports.arithmetic import compute_layer, convolve_layer, normalise
from alexnet_impl.ports.hypotheses import Hypothesis, sides_text
from alexnet_impl.ports.pairing import whole_padding
from alexnet_impl.weights.canonical import Array, Weights


def layer_hypotheses(
    ours: UserLayer, theirs: UserLayer, inputs: Array, weights: Weights
) -> list[Hypothesis]:
    """Mistakes that the Keras layer may contain, given equal inputs.

    Args:
        ours: The PyTorch layer.
        theirs: The Keras layer.
        inputs: Input of both, (batch, channels, height, width) or (batch, features).
        weights: PyTorch's weights by short name.
    """
    found: list[Hypothesis] = []
    match ours.kind:
        case "conv":
            found = [*_padding_hypotheses(ours, theirs, inputs, weights)]
            found += _declared_hypotheses(ours, theirs, inputs, weights)
            found += _kernel_hypotheses(ours, inputs, weights)
        case "dense":
            found = _kernel_hypotheses(ours, inputs, weights)
        case "batchnorm":
            found = _norm_hypotheses(ours, theirs, inputs, weights)
        case "other":
            return []
    if "bias" in weights:
        without = {k: v for k, v in weights.items() if k != "bias"}
        found.append(
            Hypothesis(
                what=f"{ours.title} had no bias",
                remedy="set use_bias=True and load the bias",
                compute=lambda: compute_layer(ours, inputs, without),
            )
        )
    return found


def _padding_hypotheses(
    ours: UserLayer, theirs: UserLayer, inputs: Array, weights: Weights
) -> Iterator[Hypothesis]:
    here, kernel = whole_padding(ours), weights["weight"].shape[2:]
    same = same_sides(inputs.shape[2:], kernel, ours.stride, ours.dilation)
    symmetric: Any = tuple((k // 2, k // 2) for k in kernel)
    remedy = (
        f"put keras.layers.ZeroPadding2D({sides_text(here)}) before it and use padding='valid'"
        if any(map(any, here))
        else "use padding='valid'"
    )
    readings: list[tuple[str, ZeroPadding]] = [
        ("TensorFlow's 'same'", same),
        ("symmetric", symmetric),
        ("left out", ((0, 0), (0, 0))),
        ("as it is declared", whole_padding(theirs)),
    ]
    seen = {here}
    for name, padding in readings:
        if padding not in seen:
            yield Hypothesis(
                what=f"{ours.title}'s padding were {name}, {sides_text(padding)}, where PyTorch's "
                f"is {sides_text(here)}",
                remedy=remedy,
                compute=lambda padding=padding: convolve_layer(ours, padding, inputs, weights),  # type: ignore[misc]
            )
        seen.add(padding)


def _declared_hypotheses(
    ours: UserLayer, theirs: UserLayer, inputs: Array, weights: Weights
) -> list[Hypothesis]:
    """Declared numbers in which the layers differ: each alone, and all together."""
    fields = [f for f in ("stride", "dilation") if getattr(ours, f) != getattr(theirs, f)]
    variants = [(field,) for field in fields] + ([tuple(fields)] if len(fields) > 1 else [])
    both = [*variants, (*fields, "padding")] if fields else []
    found = []
    for names in both:
        changed = replace(
            ours, **{name: getattr(theirs, name) for name in names if name != "padding"}
        )
        padding = whole_padding(theirs if "padding" in names else ours)
        said = ", ".join(f"{name} {getattr(theirs, name)}" for name in names)
        right = ", ".join(f"{name} {getattr(ours, name)}" for name in names)
        found.append(
            Hypothesis(
                what=f"{ours.title} had {said}, where PyTorch has {right}",
                remedy=f"give it PyTorch's {' and '.join(names)}",
                compute=lambda c=changed, p=padding: convolve_layer(c, p, inputs, weights),  # type: ignore[misc]
            )
        )
    return found


Reading = tuple[str, str, Array]
"""(what, remedy, the kernel that the mistake produces)"""


def kernel_readings(layer: UserLayer, kernel: Array) -> list[Reading]:
    """Usual mistakes in converting a kernel, with the kernel that each produces.

    Args:
        layer: The PyTorch layer.
        kernel: Shape (out, in, height, width) or (out, features).
    """
    match layer.kind:
        case "conv":
            return list(_convolution_readings(layer, kernel))
        case "dense":
            return list(_dense_readings(layer, kernel))
        case _:
            return []


def _convolution_readings(layer: UserLayer, kernel: Array) -> Iterator[Reading]:
    name = layer.title
    yield (
        f"{name}'s kernel had height and width exchanged, as w.T leaves them",
        "convert it with w.transpose(2, 3, 1, 0)",
        kernel.swapaxes(2, 3),
    )
    if kernel.shape[1] == 3:
        yield (
            f"{name} read BGR images",
            "feed both the same order of colours, or reverse the kernel's input channels",
            kernel[:, ::-1],
        )
    yield (
        f"{name}'s kernel were turned by 180 degrees, as for a true convolution",
        "leave it unturned: both frameworks compute a cross-correlation",
        kernel[:, :, ::-1, ::-1],
    )
    if layer.groups > 1:
        shape = (layer.groups, len(kernel) // layer.groups, *kernel.shape[1:])
        yield (
            f"{name}'s groups were interleaved",
            "keep the output channels of a group together",
            kernel.reshape(shape).swapaxes(0, 1).reshape(kernel.shape),
        )


PERMUTED = "transpose(0, 2, 3, 1).reshape(len(w), -1).T"


def _dense_readings(layer: UserLayer, kernel: Array) -> Iterator[Reading]:
    name = layer.title
    if layer.flattened is not None:
        channels, height, width = layer.flattened
        maps = kernel.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
        yield (
            f"{name} read a map flattened channels first: the rows of its kernel were not permuted",
            f"convert it with w.reshape(-1, {channels}, {height}, {width}).{PERMUTED}",
            maps.reshape(kernel.shape),
        )
    if kernel.shape[0] == kernel.shape[1]:
        yield (
            f"{name}'s kernel were not transposed, which its square shape does not show",
            "convert it with w.T",
            kernel.T,
        )


def _kernel_hypotheses(layer: UserLayer, inputs: Array, weights: Weights) -> list[Hypothesis]:
    return [
        Hypothesis(
            what=what,
            remedy=remedy,
            compute=lambda kernel=kernel: compute_layer(  # type: ignore[misc]
                layer, inputs, weights | {"weight": kernel}
            ),
        )
        for what, remedy, kernel in kernel_readings(layer, weights["weight"])
    ]


def _norm_hypotheses(
    ours: UserLayer, theirs: UserLayer, inputs: Array, weights: Weights
) -> list[Hypothesis]:
    axes = (0, *range(2, inputs.ndim))
    of_batch = {"running_mean": inputs.mean(axes), "running_var": inputs.var(axes)}
    fresh = {
        "running_mean": np.zeros_like(weights["running_mean"]),
        "running_var": np.ones_like(weights["running_var"]),
    }
    return [
        Hypothesis(
            what=f"{ours.title}'s epsilon were {theirs.epsilon:g}, where PyTorch's is "
            f"{ours.epsilon:g}",
            remedy=f"give BatchNormalization epsilon={ours.epsilon:g}",
            compute=lambda: normalise(inputs, weights, theirs.epsilon),
        ),
        Hypothesis(
            what=f"{ours.title} took the batch's own statistics, as in training",
            remedy="call it with training=False",
            compute=lambda: normalise(inputs, weights | of_batch, ours.epsilon),
        ),
        Hypothesis(
            what=f"{ours.title}'s running statistics were never loaded",
            remedy="load running_mean and running_var into moving_mean and moving_variance",
            compute=lambda: normalise(inputs, weights | fresh, ours.epsilon),
        ),
    ]
