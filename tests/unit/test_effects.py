"""Differences paired by seed, against numbers worked out by hand."""

import math

import pytest

from alexnet_impl.stats.paired_effects import estimate, holm, paired

pytestmark = pytest.mark.fast


def test_interval_of_three_differences_is_students():
    found = estimate([1.0, 2.0, 3.0])
    # standard deviation 1; t(2) has its 97.5 % quantile at 4.302653
    assert found.mean == 2
    assert found.low == pytest.approx(2 - 4.302653 / math.sqrt(3), abs=1e-6)
    assert found.high == pytest.approx(2 + 4.302653 / math.sqrt(3), abs=1e-6)
    # t = 2 sqrt(3); of 2 degrees of freedom p = 1 - t / sqrt(2 + t^2)
    t = 2 * math.sqrt(3)
    assert found.p_value == pytest.approx(1 - t / math.sqrt(2 + t * t))
    assert not found.measurable


def test_interval_that_leaves_out_0_is_measurable():
    assert estimate([-2.0, -2.1, -1.9]).measurable
    assert estimate([2.0, 2.1, 1.9]).measurable


@pytest.mark.parametrize("differences", [[], [0.5], [0.25] * 3, [0.0, 0.0]], ids=str)
def test_without_a_spread_there_is_no_interval(differences):
    found = estimate(differences)
    assert (found.low, found.high, found.p_value) == (None, None, None)
    assert not found.measurable
    assert found.mean == differences[0] if differences else math.isnan(found.mean)


def test_seeds_are_paired_and_those_without_a_figure_left_out():
    after = {0: 1.0, 1: 5.0, 2: None, 3: 7.0}
    before = {0: 0.5, 1: 1.0, 2: 3.0, 3: None}
    assert paired(after, before) == (0.5, 4.0)


def test_holms_correction():
    # sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.04 x 1, each at least the one before
    assert holm([0.04, 0.01, None, 0.03, 0.02]) == pytest.approx([0.06, 0.04, None, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
