"""Runs that differ only by their seed are one group, and groups are compared pair by pair."""

import dataclasses
import re

import numpy as np
import pytest
from support.tables import row_of

from alexnet_impl.report.run.differences import equalities
from alexnet_impl.report.run.groups import accuracy_difference, group_runs, pairs
from alexnet_impl.report.run.page import render
from alexnet_impl.report.run.tables import comparison_table
from alexnet_impl.report.run.verdict import verdict
from alexnet_impl.report.run.views import view_runs
from alexnet_impl.stats.paired_effects import estimate

pytestmark = pytest.mark.fast


def test_two_single_runs_are_compared_image_by_image(pair):
    """48 and 45 of 60 are correct, and the 45 are among the 48."""
    found = accuracy_difference(group_runs(view_runs(pair)))
    assert (found.only_first, found.only_second) == (3, 0)
    assert found.value == pytest.approx(3 / 60)
    assert "image by image" in found.method
    assert found.p_value == pytest.approx(2 * 0.5**3)


def test_pairing_finds_a_difference_that_independent_samples_hide(make_run):
    """9 of 60 images more are correct, and no image is lost."""
    runs = [make_run("a"), make_run("b", framework="tensorflow", num_correct=39)]
    found = accuracy_difference(group_runs(view_runs(runs)))
    assert found.is_measurable
    assert "PyTorch is more accurate by 15.00 points" in verdict(view_runs(runs)).headline


def test_runs_that_differ_only_by_seed_are_a_group(make_seeds):
    groups = group_runs(view_runs(make_seeds()))
    assert [(group.label, len(group.views)) for group in groups] == [
        ("PyTorch", 3),
        ("TensorFlow", 3),
    ]
    assert [pair[0].config.recipe.seed for pair in pairs(groups)] == [0, 1, 2]
    assert groups[0].accuracy == pytest.approx(np.mean([48, 50, 49]) / 60)


@pytest.mark.parametrize("changes", [{}, {"width": 0.25}], ids=["again", "another width"])
def test_runs_of_one_seed_and_other_networks_stay_apart(make_run, changes):
    groups = group_runs(view_runs([make_run("before"), make_run("after", **changes)]))
    assert [group.label for group in groups] == ["PyTorch (before)", "PyTorch (after)"]


def test_groups_are_compared_by_seed(make_seeds):
    runs = make_seeds()
    views = view_runs(runs)
    found = accuracy_difference(group_runs(views))
    over = estimate([3 / 60, 4 / 60, 2 / 60])
    assert (found.low, found.high) == pytest.approx((over.low, over.high))
    assert "over 3 seeds" in found.method
    assert verdict(views).headline == "PyTorch is more accurate by 5.00 points over 3 seeds"
    assert all(check.holds for check in equalities(views))
    row = row_of(comparison_table(runs), "test top-1 accuracy")
    assert row[1:3] == ["81.67% (80.00% to 83.33%)", "76.67% (75.00% to 78.33%)"]
    assert row[3].startswith("+5.00 points [+0.86")


def test_verdict_over_seeds_says_when_there_is_no_difference(make_seeds):
    views = view_runs(make_seeds(correct=((45, 48, 50), (48, 45, 49))))
    assert verdict(views).headline == (
        "No measurable difference between PyTorch and TensorFlow over 3 seeds"
    )


def test_equal_differences_in_all_seeds_give_no_interval(make_seeds):
    views = view_runs(make_seeds(correct=((48, 49, 50), (47, 48, 49))))
    assert "differ by the same amount with every seed" in verdict(views).headline


def test_a_pair_with_unequal_input_is_named_by_its_seed(make_seeds, make_run):
    runs = make_seeds()
    recipe = dataclasses.replace(runs[0].config.recipe, seed=1)
    runs[4] = make_run("other", framework="tensorflow", recipe=recipe, weights="99" * 32)
    broken = [check for check in equalities(view_runs(runs)) if check.holds is False]
    assert [check.what for check in broken] == ["initial weights (sha256)"]
    assert broken[0].detail.startswith("seed 1: ")


@pytest.mark.slow
def test_page_of_seeds_shows_both_groups(make_seeds):
    page = render(view_runs(make_seeds()))
    assert "mean of 3 seeds" in page
    assert "range of 3 seeds" in page
    (command,) = re.findall("<pre>(alexnet compare .*)</pre>", page)
    assert "--seed 0 " in command
    assert command.endswith(" --seeds 3")
