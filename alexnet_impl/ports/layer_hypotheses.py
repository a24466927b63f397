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
    if ours.kind == "attention":
        found += _attention_hypotheses(pair, weights)
    if ours.kind == "transposed":
        found += _transposed_hypotheses(pair, weights["weight"].shape[2:])
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
    count = len(alike) - 1
    more = f", and that of {count} more layer{'s' if count > 1 else ''}," if count else ""
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


def _transposed_hypotheses(pair: LayerPair, kernel: tuple[int, ...]) -> Iterator[Hypothesis]:
    """Keras's two paddings of a transposed convolution, as crops of the whole output."""
    ours = pair.torch
    sizes = list(zip(kernel, ours.stride, ours.dilation, strict=True))
    overlaps = [(size - 1) * wide + 1 - step for size, step, wide in sizes]
    readings: dict[str, Any] = {
        "same": [(lap // 2, lap - lap // 2) if lap > 0 else (0, lap) for lap in overlaps],
        "valid": [(0, min(lap, 0)) for lap in overlaps],
    }
    if pair.tensorflow.padding_name == "valid":
        readings = dict(reversed(readings.items()))
    (rows, _), (columns, _) = ours.padding
    wanted = [
        (crop, crop - more) for crop, more in zip((rows, columns), ours.output_padding, strict=True)
    ]
    right = sides_text((wanted[0], wanted[1]))
    for name, crops in readings.items():
        if crops != wanted:
            sides = tuple((-first, -last) for first, last in crops)
            crop = Operation(kind="pad", name="crop", numbers={"sides": sides})
            yield Hypothesis(
                what=f"{ours.title}'s output were cropped as by padding='{name}', by "
                f"{sides_text((crops[0], crops[1]))}, where PyTorch crops it by {right}",
                remedy=f"use padding='valid' and crop with Cropping2D({right})",
                edits=(
                    Edit(
                        layer=ours.name,
                        chain=(ORIGINAL, crop),
                        attributes={"padding": (0, 0), "output_padding": (0, 0)},
                    ),
                ),
            )


def _attention_hypotheses(pair: LayerPair, weights: Weights) -> Iterator[Hypothesis]:
    """Other heads, the scale of the scores, the mask, and the inputs exchanged."""
    ours, theirs = pair.torch, pair.tensorflow
    name, features = ours.title, len(weights["query_weight"])
    size = features // ours.heads
    if theirs.heads not in (0, ours.heads) and features % theirs.heads == 0:
        yield Hypothesis(
            what=f"{name} had {theirs.heads} heads, where PyTorch has {ours.heads}",
            remedy=f"give it num_heads={ours.heads}, key_dim={size}",
            edits=(
                Edit(
                    layer=ours.name,
                    attributes={"num_heads": theirs.heads, "head_dim": features // theirs.heads},
                ),
            ),
        )
    query = {key: weights[key] for key in ("query_weight", "query_bias") if key in weights}
    for what, factor in (
        (f"the scores of {name} were not divided by the root of {size}", size**0.5),
        (f"the scores of {name} were divided by the root of {size} twice", size**-0.5),
        (f"the scores of {name} were divided by the root of {features}", ours.heads**-0.5),
        (f"the scores of {name} were divided by {size}, and not by its root", size**-0.5),
    ):
        yield Hypothesis(
            what=what,
            remedy=f"divide them by the root of the size of a head, {size}",
            edits=(_with(ours, **{key: factor * array for key, array in query.items()}),),
        )
    yield Hypothesis(
        what=f"{name} had no mask",
        remedy="give its call attention_mask, or use_causal_mask=True",
        edits=(
            Edit(
                layer=ours.name,
                arguments={"attn_mask": None, "is_causal": False, "key_padding_mask": None},
            ),
        ),
    )
    for first, second in (("query", "key"), ("query", "value"), ("key", "value")):
        both = {f"{one}_{part}" for one in (first, second) for part in ("weight", "bias")}
        swapped = {
            key: weights[
                key.replace(first, second) if key.startswith(first) else key.replace(second, first)
            ]
            for key in sorted(both & weights.keys())
        }
        if all(swapped[key].shape == weights[key].shape for key in swapped):
            yield Hypothesis(
                what=f"{name}'s {first} and {second} were exchanged",
                remedy="give its call query, value, key in Keras's order, or by their names",
                edits=(_with(ours, **swapped),),
            )


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
