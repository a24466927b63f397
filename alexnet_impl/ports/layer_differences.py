"""Differences of a user's two models in every layer, for the page of a comparison."""

from collections.abc import Sequence

import numpy as np

from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.frameworks.user_model import Operation
from alexnet_impl.parity.record import LargestDifference, LayerDifference
from alexnet_impl.ports.hypotheses import rows_apart
from alexnet_impl.ports.pairing import called
from alexnet_impl.ports.session import PairSession
from alexnet_impl.weights.canonical import Array

ENDS = ("input", "output")


def layer_differences(session: PairSession) -> tuple[LayerDifference, ...]:
    """Compare the values of every layer, also of those after the first mismatch, and the output."""
    ours, theirs = session.values
    bound = session.tolerance("layers")
    found = []
    for pair in called(session.pairs):
        layers = (pair.torch, pair.tensorflow)
        sides = [(ours[f"{pair.name}.{end}"], theirs[f"{pair.name}.{end}"]) for end in ENDS]
        distances = [rows_apart(*arrays) for arrays in sides]
        differing = [arrays for arrays, d in zip(sides, distances, strict=True) if not d <= bound]
        found.append(
            LayerDifference(
                names=dict(zip(FRAMEWORKS, (layer.name for layer in layers), strict=True)),
                before=_names(*(layer.before for layer in layers)),
                input=distances[0],
                output=distances[1],
                largest=largest_difference(*differing[0]) if differing else None,
            )
        )
    distance = rows_apart(ours["output"], theirs["output"])
    last = LayerDifference(
        names=dict.fromkeys(FRAMEWORKS, "output"),
        before=_names(*(session.facts[name].after for name in FRAMEWORKS)),
        input=None,
        output=distance,
        largest=None if distance <= bound else largest_difference(ours["output"], theirs["output"]),
    )
    return (*found, last)


def _names(ours: Sequence[Operation], theirs: Sequence[Operation]) -> dict[str, tuple[str, ...]]:
    """Framework to the names of its operations."""
    both = (tuple(operation.name for operation in chain) for chain in (ours, theirs))
    return dict(zip(FRAMEWORKS, both, strict=True))


def largest_difference(ours: Array, theirs: Array) -> LargestDifference | None:
    """The element in which two arrays (batch, ...) differ most relative to its image."""
    if ours.shape != theirs.shape or not ours.size:
        return None
    scale = np.abs(ours).reshape(len(ours), -1).max(axis=1)
    shape = (-1,) + (1,) * (ours.ndim - 1)
    gaps = np.abs(ours - theirs) / np.where(scale > 0, scale, 1.0).reshape(shape)
    index = np.unravel_index(int(np.argmax(gaps)), ours.shape)
    return LargestDifference(
        index=tuple(int(place) for place in index),
        values={
            name: float(array[index])
            for name, array in zip(FRAMEWORKS, (ours, theirs), strict=True)
        },
    )
