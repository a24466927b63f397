"""Ratios, verdicts, steadiness and warnings, against numbers worked out by hand.

How often the intervals hold the truth is in tests/meta/test_benchmark_verdict.py.
"""

import dataclasses
import math

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from alexnet_impl.errors import AlexNetError
from alexnet_impl.stats import speed_ratios as statistics
from alexnet_impl.stats.speed_ratios import (
    MeasurementError,
    Ratio,
    independent_ratio,
    instability,
    is_narrow,
    is_steady,
    paired_ratio,
    verdict,
)

pytestmark = pytest.mark.fast


def noisy(count, *, seed=0, median_s=0.1, noise=0.01):
    return median_s * np.exp(noise * np.random.default_rng(seed).standard_normal(count))


def ratio_of(low, high, ratio=1.0):
    return Ratio(ratio=ratio, low=low, high=high, confidence=0.95, rounds=10)


# Pairs of rounds


def test_ratio_is_how_many_times_as_fast_the_first_side_is():
    found = paired_ratio([0.1] * 8, [0.2] * 8)
    assert found.ratio == found.low == found.high == pytest.approx(2)
    assert (found.rounds, found.confidence) == (8, 0.95)


def test_ratio_is_the_median_over_the_rounds():
    """Rounds of 3, 1.5, 1.2, 1 and 0.1: neither the mean nor the ratio of the sums."""
    assert paired_ratio([1, 2, 5, 1, 10], [3, 3, 6, 1, 1]).ratio == pytest.approx(1.2)


@pytest.mark.parametrize("rounds", [1, 2])
def test_fewer_than_3_rounds_have_no_interval(rounds):
    found = paired_ratio([0.1, 0.2][:rounds], [0.2, 0.4][:rounds])
    assert (found.ratio, found.low, found.high) == (pytest.approx(2), 0, math.inf)
    assert verdict(found, 0) == "undecided"
    assert not is_narrow(found, 100)


@pytest.mark.parametrize("rounds", [3, 4, 5, 6, 7, 8, 20, 40])
def test_interval_holds_the_ratio_and_is_turned_over_with_the_sides(rounds):
    first, second = noisy(rounds, seed=1), noisy(rounds, seed=2, median_s=0.2)
    found, turned = paired_ratio(first, second), paired_ratio(second, first)
    assert found.low < found.ratio < found.high
    assert turned.ratio == pytest.approx(1 / found.ratio)
    assert turned.low == pytest.approx(1 / found.high)
    assert turned.high == pytest.approx(1 / found.low)


def test_noise_that_both_sides_of_a_round_share_cancels():
    first, second, shared = noisy(10, seed=1), noisy(10, seed=2), np.linspace(1, 3, 10)
    quiet, drifting = paired_ratio(first, second), paired_ratio(first * shared, second * shared)
    assert dataclasses.astuple(drifting) == pytest.approx(dataclasses.astuple(quiet))
    assert independent_ratio(first * shared, second * shared).high > 1.5


def test_one_round_with_a_spike_does_not_move_the_interval_far():
    first, second = noisy(12, seed=1), noisy(12, seed=2)
    calm = paired_ratio(first, second)
    second[3] *= 10
    spiked = paired_ratio(first, second)
    assert spiked.ratio == pytest.approx(calm.ratio, rel=0.01)
    assert spiked.high < 1.05


def test_same_seed_gives_the_same_interval():
    sides = noisy(10, seed=1), noisy(10, seed=2)
    assert paired_ratio(*sides, seed=3) == paired_ratio(*sides, seed=3)


def test_another_seed_moves_the_ends_only_a_little():
    sides = noisy(20, seed=1), noisy(20, seed=2)
    found = [paired_ratio(*sides, seed=seed) for seed in range(5)]
    width = found[0].high - found[0].low
    assert np.ptp([ratio.low for ratio in found]) < 0.1 * width
    assert np.ptp([ratio.high for ratio in found]) < 0.1 * width


def test_more_confidence_is_a_wider_interval():
    sides = noisy(20, seed=1), noisy(20, seed=2)
    narrow, wide = (paired_ratio(*sides, confidence=share) for share in (0.8, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


@hypothesis.given(
    rounds=st.lists(st.tuples(*[st.floats(1e-6, 1e3)] * 2), min_size=1, max_size=12),
    scale=st.floats(1e-3, 1e3),
)
@hypothesis.settings(max_examples=30)
def test_interval_is_in_order_and_knows_no_unit(rounds, scale):
    first, second = np.array(rounds).T
    found, scaled = paired_ratio(first, second), paired_ratio(scale * first, scale * second)
    slack = 1 + 1e-9
    assert 0 <= found.low <= found.ratio * slack
    assert found.ratio <= found.high * slack
    assert dataclasses.astuple(scaled) == pytest.approx(dataclasses.astuple(found))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([0.1, 0.1], [0.1], "first_s has 2 rounds and second_s 1: each round needs both sides"),
        ([], [], r"first_s has shape \(0,\): it must be one row of at least one time"),
        ([[0.1]], [[0.1]], r"first_s has shape \(1, 1\)"),
        ([0.1, 0.0], [0.1, 0.1], r"first_s\[1\]=0.0 must be finite and above 0 seconds"),
        ([0.1, 0.1], [-0.1, 0.1], r"second_s\[0\]=-0.1 must be"),
        ([0.1, math.nan], [0.1, 0.1], r"first_s\[1\]=nan must be"),
        ([0.1, math.inf], [0.1, 0.1], r"first_s\[1\]=inf must be"),
    ],
)
def test_times_that_are_none_are_refused(first, second, message):
    with pytest.raises(MeasurementError, match=message):
        paired_ratio(first, second)
    assert issubclass(MeasurementError, AlexNetError)


@pytest.mark.parametrize("confidence", [0, 1, 95, math.nan])
def test_confidence_that_is_none_is_refused(confidence):
    with pytest.raises(MeasurementError, match=f"confidence={confidence} must lie between 0 and 1"):
        paired_ratio([0.1], [0.1], confidence=confidence)


# Verdicts


@pytest.mark.parametrize(
    ("low", "high", "margin", "expected"),
    [
        (1.03, 1.10, 0.02, "faster"),
        (1.02, 1.10, 0.02, "undecided"),
        (0.90, 0.97, 0.02, "slower"),
        (0.90, 1 / 1.02, 0.02, "undecided"),
        (0.90, 0.99, 0.02, "undecided"),
        (0.90, 1.10, 0.0, "undecided"),
        (1.001, 1.002, 0.0, "faster"),
        (0.998, 0.999, 0.0, "slower"),
        (0.0, math.inf, 0.0, "undecided"),
    ],
)
def test_verdict_needs_the_whole_interval_beyond_the_margin(low, high, margin, expected):
    assert verdict(ratio_of(low, high), margin) == expected


@pytest.mark.parametrize("margin", [-0.1, math.nan, math.inf])
def test_margin_that_is_none_is_refused(margin):
    with pytest.raises(MeasurementError, match=f"margin={margin} must be finite and at least 0"):
        verdict(ratio_of(0.9, 1.1), margin)


def test_interval_is_narrow_by_its_half_width_relative_to_the_ratio():
    assert is_narrow(ratio_of(1.96, 2.04, ratio=2.0), 0.0201)
    assert not is_narrow(ratio_of(1.96, 2.04, ratio=2.0), 0.0199)
    assert not is_narrow(ratio_of(1.96, 2.04, ratio=1.0), 0.0201)


@pytest.mark.parametrize("width", [0, -1, math.nan])
def test_width_that_is_none_is_refused(width):
    with pytest.raises(MeasurementError, match=f"width={width} must be above 0"):
        is_narrow(ratio_of(0.9, 1.1), width)


# One run, and two separate ones


def test_two_runs_are_compared_by_their_medians_and_the_verdict_speaks_of_the_new_one():
    old, new = noisy(30, seed=1), noisy(20, seed=2, median_s=0.125)
    found = independent_ratio(old, new)
    assert found.ratio == pytest.approx(np.median(old) / np.median(new))
    assert found.low < 0.8 < found.high
    assert found.rounds == 20
    assert verdict(found, 0.02) == "slower"
    assert verdict(independent_ratio(new, old), 0.02) == "faster"


def test_two_alike_runs_are_undecided():
    assert verdict(independent_ratio(noisy(30, seed=1), noisy(30, seed=2)), 0.02) == "undecided"


def test_two_runs_of_which_one_is_short_have_no_interval():
    found = independent_ratio([0.1] * 10, [0.1, 0.2])
    assert (found.low, found.high) == (0, math.inf)


def test_two_runs_name_the_one_that_is_wrong():
    with pytest.raises(MeasurementError, match=r"new_s\[2\]=0.0"):
        independent_ratio([0.1], [0.1, 0.1, 0.0])


def test_interval_of_a_ratio_is_wider_where_neighbours_are_alike():
    """The same values in order of size: fewer of them are news."""
    times = noisy(100)
    found = [independent_ratio(order, order) for order in (times, np.sort(times))]
    mixed, sorted_ = (ratio.high - ratio.low for ratio in found)
    assert sorted_ > 1.5 * mixed


def test_long_runs_are_resampled_piece_by_piece(monkeypatch):
    old, new = noisy(50), noisy(60)
    whole = independent_ratio(old, new)
    monkeypatch.setattr(statistics, "_CHUNK", 50_000)
    pieces = independent_ratio(old, new)
    assert (pieces.low, pieces.high) == pytest.approx((whole.low, whole.high), rel=2e-3)


# Warm-up


@pytest.mark.parametrize(
    ("times", "steady"),
    [
        ([0.1] * 10, True),
        ([5.0, 1.0, *[0.1] * 10], True),
        ([0.1] * 9, False),
        ([], False),
        ([0.12] * 5 + [0.1] * 5, False),
        ([0.1] * 5 + [0.12] * 5, False),
        ([0.104] * 5 + [0.1] * 5, True),
        ([0.1] * 5 + [0.104, 0.103, 0.102, 0.101, 0.1], False),
        ([0.1] * 5 + [0.1, 0.101, 0.102, 0.103, 0.104], True),
        ([0.1] * 5 + [0.1004, 0.1003, 0.1002, 0.1001, 0.1], True),
        ([0.1] * 5 + [0.104, 0.098, 0.102, 0.104, 0.1], True),
        ([0.1, 0.1, 0.3, 0.1, 0.1] * 2, True),
    ],
    ids=[
        "flat",
        "a slow start long ago",
        "less than two windows",
        "nothing",
        "a step down",
        "a step up",
        "a small step",
        "a steady fall",
        "a steady rise",
        "a fall that does not matter",
        "noise",
        "spikes",
    ],
)
def test_warm_up_is_over(times, steady):
    assert is_steady(times) is steady


def test_warm_up_heeds_window_and_tolerance():
    assert is_steady([0.2, 0.1, 0.1], window=1)
    assert not is_steady([0.12, 0.1], window=1)
    assert is_steady([0.12, 0.1], window=1, tolerance=0.2)


def test_falling_run_is_never_steady_and_noise_nearly_always():
    falling = 0.1 * (1 + np.exp(-np.arange(60) / 20))
    ends = [end for end in range(10, 40) if is_steady(falling[:end])]
    assert ends == []
    alarms = sum(not is_steady(noisy(10, seed=seed)) for seed in range(200))
    assert alarms <= 10


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 0}, "window=0 must be at least 1"),
        ({"tolerance": 0}, "tolerance=0 must be above 0"),
    ],
)
def test_warm_up_refuses_settings_that_are_none(settings, message):
    with pytest.raises(MeasurementError, match=message):
        is_steady([0.1] * 20, **settings)


# Warnings


def test_quiet_sample_has_no_warnings():
    assert instability(noisy(20)) == ()


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0.1] * 4, "Only 4 values, fewer than 5: measure more rounds."),
        ([0.1], "Only 1 value, fewer than 5: measure more rounds."),
        (
            [1e-3] * 4 + [9e-4] + [1e-3] * 15,
            (
                "The shortest group took 0.9 ms, under 1 ms: too short for the timer; time "
                "more steps together."
            ),
        ),
        (
            [0.08, 0.12] * 4,
            (
                "The standard deviation of 21.38 ms is 21% of the mean of 100 ms, above 10%: "
                "measure more rounds, on a quieter machine."
            ),
        ),
        (
            [0.1] * 40 + [0.16],
            (
                "The maximum of 160 ms is 60% above the median of 100 ms, more than 50%: something "
                "else ran; close it, or measure more rounds."
            ),
        ),
        (
            [0.1] * 5 + [0.106] * 5,
            (
                "The second half's median of 106 ms is 6.0% above the first half's 100 ms, over "
                "5%: the machine slows down; let it cool, or fix its clock rate."
            ),
        ),
        (
            [0.1] * 5 + [0.094] * 5,
            (
                "The second half's median of 94 ms is 6.0% below the first half's 100 ms, over 5%: "
                "the warm-up was too short; warm up longer."
            ),
        ),
    ],
    ids=["few", "one", "short", "spread", "spike", "slowing", "warming"],
)
def test_warning_names_the_figures_and_the_remedy(times, message):
    assert instability(times) == (message,)


@pytest.mark.parametrize(
    "times",
    [
        [0.1] * 5,
        [1e-3] * 5,
        [0.095, 0.105] * 10,
        [0.1] * 40 + [0.149],
        [0.1] * 5 + [0.1049] * 5,
        [0.1] * 5 + [0.0951] * 5,
    ],
    ids=["enough", "long enough", "little spread", "small spike", "little slower", "less"],
)
def test_sample_just_within_the_bounds_has_no_warnings(times):
    assert instability(times) == ()


def test_all_warnings_are_given_together():
    assert len(instability([1e-4, 1e-4, 1e-4, 5e-4])) == 5


def test_no_times_at_all_are_refused():
    with pytest.raises(MeasurementError, match="times_s has shape"):
        instability([])
