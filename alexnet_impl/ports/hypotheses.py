"""What the other side may have computed instead, and which guess lies nearest to what was seen."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from alexnet_impl.frameworks.user_model import ZeroPadding
from alexnet_impl.parity.record import Cause
from alexnet_impl.weights.canonical import Array

MAX_CAUSES = 3
EXPLAINED = 0.05
"""A reading that leaves no more than this share of a difference explains it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """One way in which the other side may compute.

    Attributes:
        what: The end of 'tensorflow computes as if ...'.
        remedy: What makes it right.
        compute: What would then come out.
    """

    what: str
    remedy: str
    compute: Callable[[], Array]


def apart(first: Array, second: Array) -> float:
    """How far two arrays lie apart: of the rows' relative differences, the largest.

    Relative to a row's largest value, so that images of every scale count alike.

    Returns:
        Infinity if the shapes differ.
    """
    if first.shape != second.shape:
        return float("inf")
    rows = first.reshape(len(first), -1), second.reshape(len(second), -1)
    scale = np.abs(rows[0]).max(axis=1)
    if not scale.any():
        return 0.0 if not rows[1].any() else float("inf")
    difference = np.abs(rows[0] - rows[1]).max(axis=1)
    return float((difference / np.where(scale > 0, scale, scale.max())).max())


def worst_of(distances: dict[str, float]) -> tuple[str, float]:
    """The largest distance with its name; the first NaN if there is one, which max() may lose."""
    if not distances:
        return "", 0.0
    name = list(distances)[int(np.argmax(list(distances.values())))]
    return name, distances[name]


def rank(
    expected: Array, observed: Array, hypotheses: Iterable[Hypothesis], *, noise: float
) -> tuple[Cause, ...]:
    """The hypotheses that come nearer to what was seen than what was expected, nearest first.

    Args:
        expected: What PyTorch yields.
        observed: What Keras yields.
        hypotheses: What Keras may have done instead.
        noise: A hypothesis that lies so near to what was expected, or to one before it, says
            nothing.
    """
    found: list[Cause] = []
    seen = [expected]
    bound = apart(observed, expected) / 2
    for hypothesis in hypotheses:
        predicted = hypothesis.compute()
        known = any(apart(predicted, other) <= noise for other in seen)
        if predicted.shape != observed.shape or known:
            continue
        seen.append(predicted)
        distance = apart(observed, predicted)
        if distance < bound:
            what, remedy = hypothesis.what, hypothesis.remedy
            found.append(Cause(side="tensorflow", what=what, remedy=remedy, distance=distance))
    return best_causes(found, apart(observed, expected))


def best_causes(causes: Iterable[Cause], difference: float) -> tuple[Cause, ...]:
    """The nearest few; those alone that explain the difference, if any does."""
    best = sorted(causes, key=lambda cause: cause.distance or 0.0)[:MAX_CAUSES]
    explaining = tuple(cause for cause in best if explains(cause, difference))
    return explaining or tuple(best)


def explains(cause: Cause, difference: float) -> bool:
    """Whether a cause leaves next to nothing of a difference."""
    return cause.distance is not None and cause.distance <= EXPLAINED * min(difference, 1.0)


def sides_text(sides: ZeroPadding) -> str:
    """As short as it can be said: 2, (3, 4) or ((1, 2), (0, 1))."""
    rows, columns = sides
    if rows != columns:
        return str(sides)
    return str(rows[0] if rows[0] == rows[1] else rows)
