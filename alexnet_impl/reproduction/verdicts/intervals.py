"""Intervals around our figures: how far a published figure may lie from them by chance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from alexnet_impl.stats.accuracy import Z_95

HALF_AN_EPOCH = 0.5
"""A loss of one seed is given the range that the curve passes within this many epochs: training
runs of other seeds are ahead or behind, and one run cannot tell by how much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OurFigure:
    """Our figure beside a published one, with its 95 % interval.

    Attributes:
        value: Mean over the seeds.
        basis: What the interval is computed from, in words.
    """

    value: float
    low: float
    high: float
    basis: str

    def holds(self, low: float, high: float) -> bool:
        """Whether a figure that was rounded from between these lies in the interval."""
        return low <= self.high and high >= self.low


def of_shares(
    values: Sequence[float], count: int, their_value: float, their_count: int
) -> OurFigure:
    """Interval of an accuracy: both sides are counts of images, and seeds differ.

    `values` has one share a seed, each measured on `count` images.
    """
    mean = float(np.mean(values))
    variance = mean * (1 - mean) / count + their_value * (1 - their_value) / their_count
    half = math.hypot(Z_95 * math.sqrt(variance), _seed_reach(values))
    basis = "binomial" if len(values) == 1 else f"binomial and {len(values)} seeds"
    return OurFigure(value=mean, low=max(0.0, mean - half), high=min(1.0, mean + half), basis=basis)


def of_curves(curves: Sequence[Sequence[float]], epoch: int, standard_error: float) -> OurFigure:
    """Interval of a loss: from the spread of the seeds, or along the curve of a single seed.

    Args:
        curves: Losses by epoch, one curve a seed; a single curve has at least two epochs.
        epoch: The epoch, counted from 1.
        standard_error: Standard error of one measurement; both sides have about the same.
    """
    values = [curve[epoch - 1] for curve in curves]
    mean = float(np.mean(values))
    basis = f"{len(values)} seeds"
    reaches = [_seed_reach(values)] * 2
    if len(values) == 1:
        basis = "half an epoch to either side"
        ends = [_along(curves[0], epoch - 1 + side * HALF_AN_EPOCH) for side in (-1, 1)]
        reaches = [mean - min(mean, *ends), max(mean, *ends) - mean]
    below, above = (math.hypot(reach, _both_sides(standard_error)) for reach in reaches)
    return OurFigure(
        value=mean, low=mean - below, high=mean + above, basis=f"{basis}, standard error"
    )


def of_mean(values: Sequence[float], standard_error: float) -> OurFigure:
    """Interval of a mean over test images that both sides measure with about one standard error.

    `values` has one mean a seed.
    """
    mean = float(np.mean(values))
    half = math.hypot(_both_sides(standard_error), _seed_reach(values))
    return OurFigure(value=mean, low=mean - half, high=mean + half, basis="standard error")


def _both_sides(standard_error: float) -> float:
    """How far two measurements with this standard error may lie from each other."""
    return Z_95 * math.sqrt(2) * standard_error


def _seed_reach(values: Sequence[float]) -> float:
    """How far one more seed may lie from the mean of these; 0 for a single seed."""
    if len(values) < 2:
        return 0.0
    quantile = float(special.stdtrit(len(values) - 1, 0.975))  # Student's t; scipy.stats loads long
    return quantile * float(np.std(values, ddof=1)) * math.sqrt(1 + 1 / len(values))


def _along(curve: Sequence[float], place: float) -> float:
    """The curve at a fractional epoch, extrapolated linearly beyond its ends."""
    left = min(max(math.floor(place), 0), len(curve) - 2)
    return curve[left] + (place - left) * (curve[left + 1] - curve[left])
