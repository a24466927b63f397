"""Speed ratios from times: intervals, verdicts, the end of a warm-up, warnings about noise.

Every time is in seconds and above 0. Noise on a shared machine is autocorrelated and has upward
spikes. So every location is a median, two sides are compared round by round where possible, and no
interval assumes a normal distribution.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.errors import AlexNetError

RESAMPLES = 10_000
"""Number of bootstrap samples. Another seed mostly moves an end by 1 to 3 hundredths of the
interval, and an end beside a gap between rounds by up to the gap."""

FEWEST_FOR_INTERVAL = 3
_FEWEST_BLOCKS = 6
_CHUNK = 2_000_000
"""Number of values drawn at a time, so that long runs need no more memory than short ones."""

_FEWEST_VALUES = 5
_LARGEST_STDDEV = 0.10
_LARGEST_SPIKE = 0.50
_LARGEST_DRIFT = 0.05
_SHORTEST_GROUP_S = 1e-3
_LARGEST_REACH = 700  # of a logarithm: exp(710) overflows

_FALLING_Z = -1.645
"""One-sided 5 % quantile of the normal distribution: of 5 values, at most one pair is out of
order."""

Verdict = Literal["faster", "slower", "undecided"]

_Floats = NDArray[np.float64]


class MeasurementError(AlexNetError, ValueError):
    """Raised for times or settings from which nothing can be computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Speed of the first side over the second, with its interval.

    Attributes:
        ratio: Time of the second side / time of the first; above 1 the first side is faster.
        low: Lower end of the confidence interval; 0 if there are too few rounds for one.
        high: Upper end of it; infinite if there are too few rounds.
        confidence: Share of such intervals that should hold the true ratio.
        rounds: Number of rounds; for two separate runs, number of values of the shorter one.
    """

    ratio: float
    low: float
    high: float
    confidence: float
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Mean and deviation of the times of a run, where the values themselves were not stored.

    Attributes:
        mean_s: Their mean.
        stddev_s: Their standard deviation, with n - 1.
        rounds: Their number.
    """

    mean_s: float
    stddev_s: float
    rounds: int


def paired_ratio(
    first_s: Sequence[float], second_s: Sequence[float], *, seed: int = 0, confidence: float = 0.95
) -> Ratio:
    """The median of second / first over the rounds, with its bootstrap interval.

    The interval is the percentile interval of the median log ratio, whose tails are moved out for
    small samples: to Phi(-t sqrt(n / (n - 1))), with t Student's quantile of n - 1 degrees of
    freedom. Where n is too small for the extreme rounds to be far enough out (below 6 rounds at
    95 %), the uncorrected percentile interval is stretched by the same factor instead.

    In simulations (1 % of noise on each group, 1,000 comparisons a case) it covers the truth in 93
    to 99 of 100 from 6 rounds on, and in 91 to 98 with 3 to 5: with normal, exponential and AR(1)
    noise of the machine, and with 5 % or 10 % of the groups at 1.5 times their time. Rejected: the
    uncorrected percentile interval (92 at 8 rounds), BCa (90 to 94 at 8), the mean (85 with
    spikes), trimmed means (as good, but with spikes 4 times as wide at 9 to 12 rounds), bootstrap-t
    (infinite at 5 rounds, twice as wide at 6). Rounds cannot show noise that lasts over rounds and
    affects one side only: with an AR(1) of 0.8 from group to group in each side, 83 of 100.

    Args:
        first_s: Seconds of the first side in each round, both its groups together, (rounds,).
        second_s: Seconds of the second side in the same rounds, (rounds,).
        seed: Seed of the bootstrap.
        confidence: Confidence level, between 0 and 1.

    Returns:
        The ratio; its interval is (0, inf) for fewer than 3 rounds.

    Raises:
        MeasurementError: No rounds, sides of unequal length, a time that is not finite and above
            0, or a confidence that is not between 0 and 1.

    References:
        Hesterberg 2015, What teachers should know about the bootstrap, The American Statistician
        69 (4): the moved tails.
    """
    first, second = checked_times("first_s", first_s), checked_times("second_s", second_s)
    if len(first) != len(second):
        raise MeasurementError(
            f"first_s has {len(first)} rounds and second_s {len(second)}: each round needs both "
            "sides; drop the round that was cut short, or use independent_ratio."
        )
    logs = np.log(second) - np.log(first)
    resampled = _resampled_medians(logs, np.random.default_rng(seed), block=1)
    return _ratio(float(np.median(logs)), resampled, len(logs), len(logs), confidence)


def independent_ratio(
    old_s: Sequence[float], new_s: Sequence[float], *, seed: int = 0, confidence: float = 0.95
) -> Ratio:
    """Speed of NEW over OLD, from two runs that were not measured in turns.

    The median of old_s / the median of new_s: NEW is the first side, so the verdict is about NEW.
    Both runs are resampled in blocks of neighbouring values, since such values are alike; the
    tails are moved out as in `paired_ratio`, for as many values as there are blocks. In simulations
    (600 comparisons a case) it covers the truth in 96 to 99 of 100 with independent noise, spikes
    or none; with AR(1) noise of 0.5 in 87 with 10 values and 95 from 20 on, of 0.8 in 89 with 50.
    A change of the machine between the two runs, such as its clock rate or its other processes,
    looks like a difference of the code: prefer rounds in turns, and use a wider margin here.

    Args:
        old_s: Seconds of each value of the saved run, (values,), in the order measured.
        new_s: Seconds of each value of the new run, (values,), in the order measured.
        seed: Seed of the bootstrap.
        confidence: Confidence level, between 0 and 1.

    Returns:
        The ratio; its interval is (0, inf) if a run has fewer than 3 values.

    Raises:
        MeasurementError: No values, a time that is not finite and above 0, or a confidence that is
            not between 0 and 1.
    """
    old, new = checked_times("old_s", old_s), checked_times("new_s", new_s)
    rng = np.random.default_rng(seed)
    centre = math.log(np.median(old)) - math.log(np.median(new))
    resampled = np.log(_resampled_medians(old, rng, _block_length(len(old))))
    resampled -= np.log(_resampled_medians(new, rng, _block_length(len(new))))
    count = min(len(old), len(new))
    blocks = min(_blocks(len(old)), _blocks(len(new)))
    return _ratio(centre, resampled, count, blocks, confidence)


def ratio_of_means(old: Summary, new: Summary, *, confidence: float = 0.95) -> Ratio:
    """Speed of NEW over OLD, from means and standard deviations alone.

    The mean of OLD / the mean of NEW. The interval is Welch's for the difference of the logarithms
    of the means (delta method). It takes the rounds for independent: with noise that lasts over
    several of them it is too narrow, and spikes move the means. Prefer independent_ratio().

    Args:
        old: The saved run.
        new: The new run.
        confidence: Confidence level, between 0 and 1.

    Returns:
        The ratio; its interval is (0, inf) if a run has fewer than 3 values.

    Raises:
        MeasurementError: A mean that is not finite and above 0, or a deviation that is negative or
            not finite.
    """
    for name, run in (("old", old), ("new", new)):
        if not 0 < run.mean_s < math.inf or not 0 <= run.stddev_s < math.inf:
            raise MeasurementError(
                f"{name} has mean_s={run.mean_s:g} and stddev_s={run.stddev_s:g}: the mean must be "
                "finite and above 0, and the deviation finite and at least 0."
            )
    ratio, count = old.mean_s / new.mean_s, min(old.rounds, new.rounds)
    low, high = 0.0, math.inf
    if count >= FEWEST_FOR_INTERVAL:
        spreads = [run.stddev_s / run.mean_s for run in (old, new)]
        # Products, since ** raises where they give infinity.
        parts = [
            spread * spread / run.rounds for spread, run in zip(spreads, (old, new), strict=True)
        ]
        variance = sum(parts)
        weights = sum(
            part * part / (run.rounds - 1) for part, run in zip(parts, (old, new), strict=True)
        )
        degrees = variance * variance / weights if weights else math.inf
        reach = _student((1 - confidence) / 2, degrees) * math.sqrt(variance)
        factor = math.exp(reach) if reach < _LARGEST_REACH else math.inf
        low, high = ratio / factor, ratio * factor
    return Ratio(ratio=ratio, low=low, high=high, confidence=confidence, rounds=count)


def verdict(ratio: Ratio, margin: float) -> Verdict:
    """Whether the first side is faster or slower by more than the margin, over the whole interval.

    Args:
        ratio: Speed of the first side over the second.
        margin: Largest relative difference that does not count: 0.02 for 2 %.

    Returns:
        "faster" if the interval lies wholly above 1 + margin, "slower" if wholly below
        1 / (1 + margin), otherwise "undecided".

    Raises:
        MeasurementError: A margin that is negative or not finite.
    """
    if not 0 <= margin < math.inf:
        raise MeasurementError(f"margin={margin} must be finite and at least 0, such as 0.02.")
    if ratio.low > 1 + margin:
        return "faster"
    if ratio.high < 1 / (1 + margin):
        return "slower"
    return "undecided"


def is_narrow(ratio: Ratio, width: float) -> bool:
    """Whether half the interval is at most `width` of the ratio: the rule for ending the rounds.

    It looks at the width and never at the verdict, so that it does not stop at the first chance
    difference. Even so it prefers lucky narrow intervals: stopped at 1 %, after 6 to 40 rounds,
    they cover the truth in 91 to 97 of 100.

    Raises:
        MeasurementError: A width that is not above 0.
    """
    if not width > 0:
        raise MeasurementError(f"width={width} must be above 0, such as 0.01.")
    return (ratio.high - ratio.low) / 2 <= width * ratio.ratio


def is_steady(times_s: Sequence[float], *, window: int = 5, tolerance: float = 0.05) -> bool:
    """Whether the warm-up is over: the last two windows agree, and the last one does not fall.

    They agree if the median of the last window lies within the tolerance of the one before. The
    last window falls if hardly any pair of its values is out of order (Mann-Kendall, one-sided
    5 %) and its Theil-Sen slope reduces the time by more than a quarter of the tolerance from its
    first value to its last.

    Args:
        times_s: Seconds of each step or group so far, (values,), in the order measured.
        window: Number of values in a window; with fewer than 4 the medians alone decide.
        tolerance: Relative tolerance: 0.05 for 5 %.

    Returns:
        False while there are fewer than two windows.

    Raises:
        MeasurementError: A window below 1, a tolerance that is not above 0, or a time that is not
            finite and above 0.
    """
    if window < 1:
        raise MeasurementError(f"window={window} must be at least 1 value.")
    if not tolerance > 0:
        raise MeasurementError(f"tolerance={tolerance} must be above 0, such as 0.05.")
    if len(times_s) < 2 * window:
        return False
    recent = checked_times("times_s", times_s)[-2 * window :]
    before, last = np.median(recent[:window]), np.median(recent[window:])
    if abs(last - before) > tolerance * before:
        return False
    return not _falls(recent[window:], tolerance / 4 * float(last))


def instability(times_s: Sequence[float]) -> tuple[str, ...]:
    """Warnings about a sample of times: one sentence each, with the figures and the remedy.

    Args:
        times_s: Seconds of each timed group, (values,), in the order measured.

    Returns:
        One sentence for each of: fewer than 5 values; the shortest under 1 ms; a standard
        deviation above 10 % of the mean; a maximum more than 50 % above the median; a second half
        whose median is over 5 % from the first's. Empty without a finding.

    Raises:
        MeasurementError: A time that is not finite and above 0, or none at all.

    References:
        pyperf, `pyperf check`: the first four, with its thresholds.
    """
    times = checked_times("times_s", times_s)
    return (*_sample_warnings(times), *_drift_warnings(times))


def checked_times(name: str, times_s: Sequence[float]) -> _Floats:
    """Times in seconds as a float64 array, (values,), after checking them.

    Raises:
        MeasurementError: A time that is not finite and above 0, or none at all.
    """
    times = np.asarray(times_s, dtype=np.float64)
    if times.ndim != 1 or not len(times):
        raise MeasurementError(
            f"{name} has shape {times.shape}: it must be one row of at least one time in seconds."
        )
    wrong = np.flatnonzero(~(np.isfinite(times) & (times > 0)))
    if len(wrong):
        raise MeasurementError(
            f"{name}[{wrong[0]}]={times[wrong[0]]} must be finite and above 0 seconds; a group of "
            "0 s is too short for the timer: time more steps together."
        )
    return times


def _ratio(centre: float, resampled: _Floats, count: int, blocks: int, confidence: float) -> Ratio:
    """The ratio with its interval, from a log ratio and its bootstrap samples in blocks."""
    if not 0 < confidence < 1:
        raise MeasurementError(f"confidence={confidence} must lie between 0 and 1, such as 0.95.")
    low, high = 0.0, math.inf
    if count >= FEWEST_FOR_INTERVAL:
        low, high = (math.exp(end) for end in _ends(centre, resampled, blocks, confidence))
    return Ratio(ratio=math.exp(centre), low=low, high=high, confidence=confidence, rounds=count)


def _ends(centre: float, resampled: _Floats, count: int, confidence: float) -> tuple[float, float]:
    """Both ends of a percentile interval, corrected for small samples."""
    tail = (1 - confidence) / 2
    reach = _reach(tail, count)
    # All the values lie on one side of the truth with a chance of 2^(1 - count).
    if 2.0 ** (1 - count) <= 1 - confidence:
        moved = NormalDist().cdf(-reach)
        low, high = np.quantile(resampled, [moved, 1 - moved])
        return float(low), float(high)
    low, high = np.quantile(resampled, [tail, 1 - tail])
    stretch = reach / -NormalDist().inv_cdf(tail)
    return centre - stretch * float(centre - low), centre + stretch * float(high - centre)


def _reach(tail: float, count: int) -> float:
    """How many standard deviations out a tail starts: Student's, for a bootstrap of n values.

    Without the correction it would be the normal quantile.
    """
    return _student(tail, count - 1) * math.sqrt(count / (count - 1))


def _student(tail: float, degrees: float) -> float:
    """Student's quantile at the upper end; the normal one for infinite degrees of freedom."""
    if math.isinf(degrees):
        return NormalDist().inv_cdf(1 - tail)
    from scipy.special import stdtrit  # noqa: PLC0415 - takes 0.25 s to import

    return float(stdtrit(degrees, 1 - tail))


def _block_length(count: int) -> int:
    """Length of a block: about the square root, and short enough for 6 blocks."""
    return max(1, min(math.isqrt(count), count // _FEWEST_BLOCKS))


def _blocks(count: int) -> int:
    return math.ceil(count / _block_length(count))


def _resampled_medians(values: _Floats, rng: np.random.Generator, block: int) -> _Floats:
    """The medians of bootstrap samples, drawn in circular blocks of neighbouring values.

    Returns:
        (RESAMPLES,).

    References:
        Politis and Romano 1992: the circular block bootstrap.
    """
    count = len(values)
    rows = max(1, _CHUNK // count)
    medians = []
    for done in range(0, RESAMPLES, rows):
        shape = (min(rows, RESAMPLES - done), math.ceil(count / block), 1)
        places = (rng.integers(0, count, shape) + np.arange(block)) % count
        samples = np.sort(values[places.reshape(len(places), -1)[:, :count]], axis=1)
        medians.append((samples[:, (count - 1) // 2] + samples[:, count // 2]) / 2)
    return np.concatenate(medians)


def _falls(values: _Floats, negligible: float) -> bool:
    """Whether values fall by more than `negligible` seconds, in an order that is not chance.

    SciPy has both statistics, but scipy.stats would add 77 MB to the timed process.

    References:
        Mann 1945, Econometrica 13 (3); Sen 1968, JASA 63 (324).
    """
    count = len(values)
    earlier, later = np.triu_indices(count, k=1)
    rises = values[later] - values[earlier]
    if not len(rises):
        return False
    score = float(np.sign(rises).sum())
    deviation = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    fall = -float(np.median(rises / (later - earlier))) * (count - 1)
    return (score + 1) / deviation < _FALLING_Z and fall > negligible


def _ms(time_s: float) -> str:
    return f"{time_s * 1e3:.4g} ms"


def _sample_warnings(times: _Floats) -> Iterator[str]:
    if len(times) < _FEWEST_VALUES:
        yield (
            f"Only {len(times)} value{'s' * (len(times) != 1)}, fewer than {_FEWEST_VALUES}: "
            "measure more rounds."
        )
    if (shortest := float(times.min())) < _SHORTEST_GROUP_S:
        yield (
            f"The shortest group took {_ms(shortest)}, under {_ms(_SHORTEST_GROUP_S)}: too short "
            "for the timer; time more steps together."
        )
    mean = float(times.mean())
    stddev = float(times.std(ddof=1)) if len(times) > 1 else 0.0
    if stddev > _LARGEST_STDDEV * mean:
        yield (
            f"The standard deviation of {_ms(stddev)} is {stddev / mean:.0%} of the mean of "
            f"{_ms(mean)}, above {_LARGEST_STDDEV:.0%}: measure more rounds, on a quieter machine."
        )
    longest, median = float(times.max()), float(np.median(times))
    if (above := longest / median - 1) > _LARGEST_SPIKE:
        yield (
            f"The maximum of {_ms(longest)} is {above:.0%} above the median of {_ms(median)}, more "
            f"than {_LARGEST_SPIKE:.0%}: something else ran; close it, or measure more rounds."
        )


def _drift_warnings(times: _Floats) -> Iterator[str]:
    half = len(times) // 2
    if half < 2:
        return
    first, second = float(np.median(times[:half])), float(np.median(times[-half:]))
    drift = second / first - 1
    if abs(drift) <= _LARGEST_DRIFT:
        return
    way, remedy = (
        ("above", "the machine slows down; let it cool, or fix its clock rate")
        if drift > 0
        else ("below", "the warm-up was too short; warm up longer")
    )
    yield (
        f"The second half's median of {_ms(second)} is {abs(drift):.1%} {way} the first half's "
        f"{_ms(first)}, over {_LARGEST_DRIFT:.0%}: {remedy}."
    )
