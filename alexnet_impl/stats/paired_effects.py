"""What a factor does: differences paired by seed, their mean, and how sure it is.

An interval here is over seeds: initial weights, order of the images and dropout drawn again. The
test images are the same for all.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.special import stdtr, stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The mean of differences that were paired by seed.

    Attributes:
        mean: Over the seeds; NaN without one.
        low: Lower end of the 95 % interval of the mean; None where the seeds give none.
        high: Upper end of it.
        p_value: Of the two-sided t test of no difference; None without an interval.
        differences: One for each seed.
    """

    mean: float
    low: float | None
    high: float | None
    p_value: float | None
    differences: tuple[float, ...]

    @property
    def measurable(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def estimate(differences: Sequence[float]) -> Estimate:
    """The mean of paired differences with its interval from Student's t distribution.

    One seed gives no interval. Neither do several with one and the same difference, be it 0: a
    spread of 0 would make certain of what a coarse figure, such as an accuracy on few images, shows
    by chance.

    References:
        Student 1908, Biometrika 6 (1).
    """
    count = len(differences)
    mean = statistics.fmean(differences) if count else math.nan
    spread = statistics.stdev(differences) if count > 1 else 0.0
    given = tuple(differences)
    if count < 2 or spread == 0:
        return Estimate(mean=mean, low=None, high=None, p_value=None, differences=given)
    error = spread / math.sqrt(count)
    reach = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2)) * error
    p_value = 2 * float(stdtr(count - 1, -abs(mean) / error))
    return Estimate(
        mean=mean, low=mean - reach, high=mean + reach, p_value=p_value, differences=given
    )


def paired(
    after: Mapping[int, float | None], before: Mapping[int, float | None]
) -> tuple[float, ...]:
    """The differences after - before of every seed for which both are there."""
    pairs = ((after[seed], before.get(seed)) for seed in after)
    return tuple(a - b for a, b in pairs if a is not None and b is not None)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p values for how many there are; None stays None and does not count.

    References:
        Holm 1979, Scandinavian Journal of Statistics 6 (2).
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        adjusted[place] = highest
    return adjusted
