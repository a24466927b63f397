"""Hypotheses: what the Keras model may compute instead, ranked by distance to what it computed."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from alexnet_impl.frameworks.user_model import Edit, ZeroPadding, squeezed
from alexnet_impl.parity.record import MAX_CAUSES, Cause, names_text
from alexnet_impl.weights.canonical import Array

EXPLAINED = 0.05
"""A hypothesis explains a difference if it leaves at most this fraction of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """A mistake that the Keras model may contain.

    Attributes:
        what: The end of 'tensorflow computes as if ...'.
        remedy: How to correct it.
        edits: Changes with which the PyTorch model makes the same mistake.
    """

    what: str
    remedy: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A likely cause, and the changes of the PyTorch model that reproduce it."""

    cause: Cause
    edits: tuple[Edit, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A difference that the models declare in one pair of layers, or between two.

    Attributes:
        where: Name of the place.
        side: The framework whose model is wrong.
        what: As in Cause, with '{}' for the place.
        remedy: How to correct it.
    """

    where: str
    side: str
    what: str
    remedy: str


def merged(differences: Iterable[Difference]) -> tuple[Cause, ...]:
    """Causes of differences; those of one kind at several places make one cause."""
    places: dict[tuple[str, str, str], list[str]] = {}
    for one in differences:
        places.setdefault((one.side, one.what, one.remedy), []).append(one.where)
    return tuple(
        Cause(side=side, what=what.format(names_text(where)), remedy=remedy)
        for (side, what, remedy), where in places.items()
    )


def rows_apart(first: Array, second: Array) -> float:
    """Largest difference of two arrays (batch, ...), each image relative to its largest value.

    So images of every scale have equal weight. Infinity if the shapes differ; maps of one pixel
    have the shape of rows.
    """
    if first.size == second.size and squeezed(first.shape[1:]) == squeezed(second.shape[1:]):
        second = second.reshape(first.shape)
    if first.shape != second.shape:
        return float("inf")
    rows = first.reshape(len(first), -1), second.reshape(len(second), -1)
    scale = np.abs(rows[0]).max(axis=1)
    if not scale.any():
        return 0.0 if not rows[1].any() else float("inf")
    difference = np.abs(rows[0] - rows[1]).max(axis=1)
    return float((difference / np.where(scale > 0, scale, scale.max())).max())


def worst_of(distances: dict[str, float]) -> tuple[str, float]:
    """Name and value of the largest distance, or of the first NaN (max() may lose it)."""
    if not distances:
        return "", 0.0
    name = list(distances)[int(np.argmax(list(distances.values())))]
    return name, distances[name]


@np.errstate(all="ignore")  # a wrong hypothesis may overflow
def rank(
    expected: Array,
    observed: Array,
    hypotheses: Iterable[tuple[Hypothesis, Array]],
    *,
    noise: float,
) -> list[Finding]:
    """Findings whose output is nearer to Keras's than PyTorch's output is, nearest first.

    Args:
        expected: PyTorch's output (batch, ...).
        observed: Keras's output, of the same shape unless the models differ in shape.
        hypotheses: What Keras may compute instead, with the output (batch, ...) that this gives, or
            an empty one if it cannot be computed.
        noise: A hypothesis this near to `expected`, or to an earlier hypothesis, is left out.
    """
    found: list[Finding] = []
    seen = [expected]
    bound = rows_apart(observed, expected) / 2
    for hypothesis, predicted in hypotheses:
        known = any(rows_apart(predicted, other) <= noise for other in seen)
        if predicted.shape != observed.shape or known:
            continue
        seen.append(predicted)
        distance = rows_apart(observed, predicted)
        if distance < bound:
            what, remedy = hypothesis.what, hypothesis.remedy
            cause = Cause(side="tensorflow", what=what, remedy=remedy, distance=distance)
            found.append(Finding(cause=cause, edits=hypothesis.edits))
    return best_findings(found, rows_apart(observed, expected))


def best_findings(findings: Iterable[Finding], difference: float) -> list[Finding]:
    """The nearest findings; only those that explain the difference if there are any."""
    best = sorted(findings, key=lambda one: one.cause.distance or 0.0)[:MAX_CAUSES]
    return [one for one in best if explains(one.cause, difference)] or best


def explains(cause: Cause, difference: float) -> bool:
    """Whether a cause leaves almost nothing of a difference."""
    return cause.distance is not None and cause.distance <= EXPLAINED * min(difference, 1.0)


def sides_text(sides: ZeroPadding) -> str:
    """Zero padding in its shortest form: 2, (3, 4) or ((1, 2), (0, 1))."""
    rows, columns = sides
    if rows != columns:
        return str(sides)
    return str(rows[0] if rows[0] == rows[1] else rows)
