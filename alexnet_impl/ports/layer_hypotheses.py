"""The usual mistakes in a layer with weights: its padding, its numbers, its kernel's layout."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from alexnet_impl.frameworks.user_model import (
    ORIGINAL,
    Edit,
    Operation,
    UserLayer,
    ZeroPadding,
    same_sides,
)
from alexnet_impl.ports.hypotheses import Hypothesis, sides_text
from alexnet_impl.ports.pairing import LayerPair, trailing_pad, whole_padding
from alexnet_impl.weights.canonical import Array, Weights


def layer_hypotheses(
    pair: LayerPair, pairs: Sequence[LayerPair], inputs: Array, weights: Weights
) -> list[Hypothesis]:
    """Mistakes that the Keras layer may contain, given equal inputs.

    Args:
        pair: The two layers.
        pairs: All pairs: what they declare with the same difference is one mistake.
        inputs: Input of both, (batch, channels, height, width) or (batch, features).
        weights: PyTorch's weights by short name.
    """
    ours, theirs = pair.torch, pair.tensorflow
    found: list[Hypothesis] = []
    if ours.kind == "conv":
        found = [*_padding_hypotheses(pair, inputs, weights["weight"].shape[2:])]
        found += _declared_hypotheses(pair)
    if ours.kind in ("conv", "dense"):
        found += [
            Hypothesis(what=what, remedy=remedy, edits=(_with(ours, weight=kernel),))
            for what, remedy, kernel in kernel_readings(ours, weights["weight"])
        ]
    if ours.epsilon != theirs.epsilon:
        found.append(_epsilon_hypothesis(pair, pairs))
    if "running_mean" in weights:
        found += _statistics_hypotheses(ours, weights)
    if "bias" in weights:
        found.append(
            Hypothesis(
                what=f"{ours.title} had no bias",
                remedy="set use_bias=True and load the bias",
                edits=(_with(ours, bias=np.zeros_like(weights["bias"])),),
            )
        )
    return found


def _epsilon_hypothesis(pair: LayerPair, pairs: Sequence[LayerPair]) -> Hypothesis:
    ours, theirs = pair.torch.epsilon, pair.tensorflow.epsilon
    alike = [one for one in pairs if (one.torch.epsilon, one.tensorflow.epsilon) == (ours, theirs)]
    more = f", and that of {len(alike) - 1} more layers," if len(alike) > 1 else ""
    return Hypothesis(
        what=f"{pair.torch.title}'s epsilon{more} were {theirs:g}, where PyTorch's is {ours:g}",
        remedy=f"give {'each' if more else 'the'} layer epsilon={ours:g}",
        edits=tuple(Edit(layer=one.name, attributes={"eps": theirs}) for one in alike),
    )


def _with(layer: UserLayer, **weights: Array) -> Edit:
    return Edit(layer=layer.name, weights=weights)


def output_order(
    pair: LayerPair, expected: Array, observed: Array, weights: Weights
) -> Iterator[Hypothesis]:
    """The layer with its output channels in another order, if that is what Keras computes.

    Args:
        pair: The two layers.
        expected: PyTorch's output (batch, channels, ...).
        observed: Keras's output.
        weights: PyTorch's weights by short name; the first axis of each is that of the outputs.
    """
    order = order_of(expected.swapaxes(0, 1), observed.swapaxes(0, 1))
    if order is not None:
        yield Hypothesis(
            what=f"{pair.torch.title}'s output channels came in another order: {moved(order)}",
            remedy="load the kernel and the bias in PyTorch's order",
            edits=(_with(pair.torch, **{short: array[order] for short, array in weights.items()}),),
        )


def order_of(ours: Array, theirs: Array) -> Array | None:
    """The order in which the rows of one array (rows, ...) are those of another, or None."""
    if ours.shape != theirs.shape or len(ours) > MOST_ROWS:
        return None
    first, second = (array.reshape(len(array), -1) for array in (ours, theirs))
    gaps = np.abs(second[:, None] - first[None]).max(axis=2)
    order: Array = gaps.argmin(axis=1)
    is_order = len(set(order.tolist())) == len(order) and not np.array_equal(order, np.sort(order))
    close = gaps.min(axis=1).max() <= 1e-5 * max(np.abs(first).max(), 1e-30)
    return order if is_order and close else None


MOST_ROWS = 2048
"""Rows that are compared each with each."""


def moved(order: Array) -> str:
    """The first moved places of an order of shape (rows,), such as '0 and 1 exchanged'."""
    places = np.flatnonzero(order != np.arange(len(order)))
    if len(places) == 2:
        return f"{places[0]} and {places[1]} exchanged"
    return ", ".join(f"{order[place]} at {place}" for place in places[:3]) + ", ..."


def _padded(layer: UserLayer, sides: ZeroPadding, **attributes: Any) -> tuple[Edit]:
    """A convolution with other padding, also in place of a padding layer before it."""
    before = trailing_pad(layer)
    taken = before.numbers["sides"] if before else ((0, 0), (0, 0))
    left = tuple(
        tuple(new - old for new, old in zip(*both, strict=True))
        for both in zip(sides, taken, strict=True)
    )
    pad = Operation(kind="pad", name="pad", numbers={"sides": left})
    own = {"padding": (0, 0), **attributes}
    return (Edit(layer=layer.name, chain=(pad, ORIGINAL), attributes=own),)


def _padding_hypotheses(
    pair: LayerPair, inputs: Array, kernel: tuple[int, ...]
) -> Iterator[Hypothesis]:
    ours, here = pair.torch, whole_padding(pair.torch)
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
        ("as it is declared", whole_padding(pair.tensorflow)),
    ]
    seen = {here}
    for name, padding in readings:
        if padding not in seen:
            yield Hypothesis(
                what=f"{ours.title}'s padding were {name}, {sides_text(padding)}, where PyTorch's "
                f"is {sides_text(here)}",
                remedy=remedy,
                edits=_padded(ours, padding),
            )
        seen.add(padding)


def _declared_hypotheses(pair: LayerPair) -> list[Hypothesis]:
    """Declared numbers in which the layers differ: each alone, and all together."""
    ours, theirs = pair.torch, pair.tensorflow
    fields = [f for f in ("stride", "dilation") if getattr(ours, f) != getattr(theirs, f)]
    variants = [(field,) for field in fields] + ([tuple(fields)] if len(fields) > 1 else [])
    found = []
    for names in [*variants, (*fields, "padding")] if fields else []:
        numbers = {name: getattr(theirs, name) for name in names if name != "padding"}
        padding = whole_padding(theirs if "padding" in names else ours)
        said = ", ".join(f"{name} {getattr(theirs, name)}" for name in names)
        right = ", ".join(f"{name} {getattr(ours, name)}" for name in names)
        found.append(
            Hypothesis(
                what=f"{ours.title} had {said}, where PyTorch has {right}",
                remedy=f"give it PyTorch's {' and '.join(names)}",
                edits=_padded(ours, padding, **numbers),
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


def _statistics_hypotheses(layer: UserLayer, weights: Weights) -> list[Hypothesis]:
    fresh = _with(
        layer,
        running_mean=np.zeros_like(weights["running_mean"]),
        running_var=np.ones_like(weights["running_var"]),
    )
    return [
        Hypothesis(
            what=f"{layer.title} took the batch's own statistics, as in training",
            remedy="call it with training=False",
            edits=(Edit(layer=layer.name, attributes={"training": True}),),
        ),
        Hypothesis(
            what=f"{layer.title}'s running statistics were never loaded",
            remedy="load running_mean and running_var into moving_mean and moving_variance",
            edits=(fresh,),
        ),
    ]
