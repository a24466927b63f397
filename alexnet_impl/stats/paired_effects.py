"""The effect of a setting: the mean of differences paired by seed, with interval and p value.

The interval is over seeds, which draw initial weights, the order of the images and dropout. The
test images are the same for all.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
POWER = 0.8
"""Share of repetitions of a study in which a detectable difference is found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The mean of differences that were paired by seed.

    Attributes:
        mean: Mean over the seeds; NaN without one.
        low: Lower end of the 95 % interval of the mean; None where the seeds give none.
        high: Upper end of it.
        p_value: P value of the two-sided t test of no difference; None without an interval.
        differences: One difference for each seed.
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

    One seed gives no interval. Neither do several seeds with the same difference: a coarse figure,
    such as an accuracy on few images, has a spread of 0 by chance, and the interval would have no
    width.

    References:
        Student 1908, Biometrika 6 (1).
    """
    from scipy.stats import ttest_1samp  # noqa: PLC0415 - takes 0.9 s to import

    count, given = len(differences), tuple(differences)
    mean = statistics.fmean(differences) if count else math.nan
    if count < 2 or statistics.stdev(differences) == 0:
        return Estimate(mean=mean, low=None, high=None, p_value=None, differences=given)
    test = ttest_1samp(given, 0)
    interval = test.confidence_interval(CONFIDENCE)
    return Estimate(
        mean=mean,
        low=float(interval.low),
        high=float(interval.high),
        p_value=float(test.pvalue),
        differences=given,
    )


def detectable_difference(differences: Sequence[float]) -> float | None:
    """The smallest true difference that as many seeds would show in 80 % of repetitions.

    It follows from the spread of the differences between the seeds: from the noncentral t
    distribution of the test in estimate(). None where the differences give no interval.

    References:
        Cohen 1988, Statistical Power Analysis for the Behavioral Sciences, chapter 2.
    """
    from scipy.optimize import brentq  # noqa: PLC0415 - see estimate()
    from scipy.stats import nct, t  # noqa: PLC0415

    count = len(differences)
    if count < 2 or (spread := statistics.stdev(differences)) == 0:
        return None
    freedom = count - 1
    critical = float(t.ppf((1 + CONFIDENCE) / 2, freedom))

    def missing_power(shift: float) -> float:
        return float(nct.sf(critical, freedom, shift)) - POWER

    # In standard errors of the mean; the other tail of the test is negligible there.
    shift = float(brentq(missing_power, 0.0, 10 * critical))
    return shift * spread / math.sqrt(count)


def paired(
    after: Mapping[int, float | None], before: Mapping[int, float | None]
) -> tuple[float, ...]:
    """The differences after - before of every seed that has both values."""
    pairs = ((after[seed], before.get(seed)) for seed in after)
    return tuple(a - b for a, b in pairs if a is not None and b is not None)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P values adjusted for their number by Holm's method; None stays None and does not count.

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
