"""Intervals hold the truth as often as they say, and verdicts are right; a naive check is not.

The noise is simulated, group by group in the order A B B A, as on a machine both sides share.
"""

import numpy as np
import pytest

from alexnet_impl.stats import speed_ratios as statistics
from alexnet_impl.stats.speed_ratios import is_narrow, paired_ratio, verdict

pytestmark = pytest.mark.slow

NOISE = 0.01
MARGIN = 0.02
WIDTH = 0.01
FEWEST_ROUNDS, MOST_ROUNDS = 6, 40
COMPARISONS = 200
MOST_FLAGGED = 0.05
"""Share of comparisons of two alike sides that may end in a difference."""


def normal(rng, count):
    return np.exp(NOISE * rng.standard_normal(count))


def spiky(rng, count):
    return normal(rng, count) * np.where(rng.random(count) < 0.05, 1.5, 1)


def autocorrelated(rng, count, *, memory=0.9):
    """An AR(1), so slow that neighbouring groups are alike."""
    shocks = np.sqrt(1 - memory**2) * rng.standard_normal(count)
    level = rng.standard_normal()
    levels = []
    for shock in shocks:
        level = memory * level + shock
        levels.append(level)
    return np.exp(2 * NOISE * np.array(levels))


NOISES = [normal, spiky, autocorrelated]
noises = pytest.mark.parametrize("noise", NOISES, ids=lambda noise: noise.__name__)


def abba(noise, rng, rounds, *, slowdown=1.0):
    """Both sides' seconds in each round; the first side is slower by a factor."""
    groups = noise(rng, 4 * rounds).reshape(rounds, 4)
    return slowdown * (groups[:, 0] + groups[:, 3]), groups[:, 1] + groups[:, 2]


def coverage(noise, rounds, comparisons):
    rng = np.random.default_rng(rounds)
    found = (paired_ratio(*abba(noise, rng, rounds)) for _ in range(comparisons))
    return np.mean([ratio.low <= 1 <= ratio.high for ratio in found])


def careful(noise, rng, *, slowdown=1.0):
    """The verdict of rounds that are added until the interval is narrow."""
    first, second = abba(noise, rng, MOST_ROUNDS, slowdown=slowdown)
    for rounds in range(FEWEST_ROUNDS, MOST_ROUNDS + 1):
        ratio = paired_ratio(first[:rounds], second[:rounds])
        if is_narrow(ratio, WIDTH):
            break
    return verdict(ratio, MARGIN)


def naive(first, second):
    """A verdict from means, unpaired, without a margin, as soon as a difference is significant."""
    for count in range(3, len(first) + 1):
        sides = first[:count], second[:count]
        error = np.sqrt(sum(side.var(ddof=1) for side in sides) / count)
        difference = sides[1].mean() - sides[0].mean()
        if abs(difference) > 1.96 * error:
            return "faster" if difference > 0 else "slower"
    return "undecided"


def share(verdicts, wanted):
    verdicts = list(verdicts)
    return verdicts.count(wanted) / len(verdicts)


@noises
@pytest.mark.parametrize("rounds", [8, 20])
def test_interval_holds_the_true_ratio(noise, rounds):
    assert coverage(noise, rounds, COMPARISONS) >= 0.93


def test_interval_without_the_small_sample_correction_holds_it_too_rarely(monkeypatch):
    monkeypatch.setattr(
        statistics, "_reach", lambda tail, _: -statistics.NormalDist().inv_cdf(tail)
    )
    assert np.mean([coverage(noise, 8, COMPARISONS) for noise in NOISES]) < 0.93


@noises
def test_two_alike_sides_are_undecided(noise):
    rng = np.random.default_rng(0)
    verdicts = (careful(noise, rng) for _ in range(COMPARISONS))
    assert share(verdicts, "undecided") >= 1 - MOST_FLAGGED


@noises
def test_slowdown_of_5_percent_is_found(noise):
    rng = np.random.default_rng(1)
    verdicts = (careful(noise, rng, slowdown=1.05) for _ in range(COMPARISONS))
    assert share(verdicts, "slower") >= 0.9


@noises
def test_naive_check_flags_alike_sides(noise):
    """One side is measured after the other, and looked at after each value."""
    rng = np.random.default_rng(2)
    runs = (noise(rng, 2 * MOST_ROUNDS).reshape(2, -1) for _ in range(COMPARISONS))
    flagged = 1 - share((naive(*run) for run in runs), "undecided")
    assert flagged > 3 * MOST_FLAGGED


def test_naive_check_flags_alike_sides_even_when_interleaved():
    rng = np.random.default_rng(3)
    verdicts = (naive(*abba(normal, rng, MOST_ROUNDS)) for _ in range(COMPARISONS))
    assert 1 - share(verdicts, "undecided") > 3 * MOST_FLAGGED
