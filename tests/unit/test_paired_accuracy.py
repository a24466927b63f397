"""The paired difference of two accuracies on the same images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet_impl.stats.accuracy import (
    difference_interval,
    paired_difference,
    top1_accuracy,
    wilson_accuracy,
)

pytestmark = pytest.mark.fast


def correct(both, only_first, only_second, neither):
    """Which images two classifiers have right, from the four numbers of McNemar's table."""
    counts = (both, only_first, only_second, neither)
    first, second = ((True, True, False, False), (True, False, True, False))
    return np.repeat(first, counts), np.repeat(second, counts)


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        # By hand: d ± 1.96 sqrt(((n12 + n21 + 2) / (n + 2) - d²) / (n + 2)) with
        # d = (n12 - n21) / (n + 2).
        ((352, 4, 0, 4), -0.002164, 0.024263),
        ((45, 3, 0, 12), -0.021267, 0.118041),
        ((10, 0, 0, 0), -0.230984, 0.230984),
        ((1, 1, 7, 12), -0.508356, -0.013383),
    ],
)
def test_interval_is_bonett_and_prices(table, low, high):
    found = paired_difference(*correct(*table))
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-6)


def test_p_value_is_mcnemars_exact_one():
    assert paired_difference(*correct(352, 4, 0, 4)).p_value == pytest.approx(0.125)
    assert paired_difference(*correct(10, 0, 0, 3)).p_value == 1
    assert paired_difference(*correct(20, 10, 2, 12)).p_value == pytest.approx(0.0385742, abs=1e-6)


def test_interval_excludes_0_as_the_exact_test_does_for_few_images():
    """Five images that only one run has right may be chance, six hardly."""
    assert paired_difference(*correct(350, 5, 0, 5)).low < 0
    assert paired_difference(*correct(350, 6, 0, 4)).low > 0


@given(*(st.integers(0, 60) for _ in range(4)))
def test_interval_turns_round_with_its_operands(both, only_first, only_second, neither):
    first, second = correct(both, only_first, only_second, neither + 1)
    one, other = paired_difference(first, second), paired_difference(second, first)
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))
    assert -1 <= one.low < one.high <= 1
    labels = np.ones(len(first), np.int64)
    accuracies = [top1_accuracy(each.astype(np.int64), labels) for each in (first, second)]
    assert one.value == pytest.approx(accuracies[0].value - accuracies[1].value)


def test_pairing_makes_the_interval_of_alike_classifiers_narrower():
    found = paired_difference(*correct(800, 20, 10, 170))
    low, high = difference_interval(wilson_accuracy(820, 1000), wilson_accuracy(810, 1000))
    assert found.high - found.low < (high - low) / 2
