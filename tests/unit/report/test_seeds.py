"""Runs over several seeds: the paired figures, the sentences, and what cannot be paired."""

from dataclasses import replace

import numpy as np
import pytest

from alexnet_impl.recipe.named import RECIPES
from alexnet_impl.report.run.seeds import seed_comparison
from alexnet_impl.report.run.views import view_runs
from alexnet_impl.stats.paired_effects import detectable_difference, estimate

RECIPE = replace(RECIPES["quick"], epochs=2, global_batch_size=20)

pytestmark = pytest.mark.fast

RIGHT = {0: (48, 45), 1: (49, 45), 2: (47, 45), 3: (50, 46)}
"""Seed to the number of images of 60 that PyTorch and TensorFlow classify correctly."""


@pytest.fixture
def pairs(make_run):
    """Writes pairs of runs, in the order of `alexnet compare --seeds`, and compares them."""

    def make(right, changed=None, **changes):
        """`changes` are those of the run `changed`, a seed and a framework."""
        runs = []
        for seed, counts in right.items():
            for framework, num_correct in zip(("torch", "tensorflow"), counts, strict=True):
                fields = {
                    "recipe": replace(RECIPE, seed=seed),
                    "framework": framework,
                    "num_correct": num_correct,
                }
                fields |= changes if (seed, framework) == changed else {}
                runs.append(make_run(f"seed-{seed}/{framework}", **fields))
        return seed_comparison(view_runs(runs))

    return make


def test_interval_is_over_the_differences_of_the_pairs(pairs):
    found = pairs(RIGHT)
    differences = [(first - second) / 60 for first, second in RIGHT.values()]
    assert found.accuracy.differences == pytest.approx(differences)
    expected = estimate(differences)
    assert (found.accuracy.low, found.accuracy.high) == pytest.approx((expected.low, expected.high))
    assert found.headline == "PyTorch is more accurate by 5.42 points over 4 seeds"
    assert f"{100 * found.detectable:.2f} points in 80%" in found.sentences[0]
    assert "The interval is over seeds" in found.sentences[0]


def test_frameworks_that_take_turns_do_not_differ(pairs):
    found = pairs({0: (48, 45), 1: (45, 48), 2: (46, 47), 3: (47, 46)})
    assert found.headline == "No measurable difference between PyTorch and TensorFlow over 4 seeds"


def test_pairs_that_all_differ_alike_have_no_interval(pairs):
    found = pairs({0: (48, 45), 1: (47, 44)})
    assert found.headline == "PyTorch and TensorFlow differ by the same amount with every seed"
    assert "the spread over the seeds is unknown" in found.sentences[0]
    assert "The interval" not in " ".join(found.sentences)
    assert found.detectable is None


def test_pair_that_did_not_finish_is_left_out_and_named(pairs):
    found = pairs(RIGHT, (2, "tensorflow"), status="interrupted")
    assert len(found.accuracy.differences) == 3
    assert "Left out, since a run did not finish: seed 2." in found.sentences


@pytest.mark.parametrize(
    "change", [{"batches": "ef" * 32}, {"weights": "01" * 32}, {"data_seed": 1}]
)
def test_pair_of_unequal_bytes_is_named(pairs, change):
    found = pairs(RIGHT, (1, "torch"), **change)
    assert any("equal weights and batches: seed 1" in sentence for sentence in found.sentences)


@pytest.mark.parametrize(
    ("right", "change"),
    [
        ({0: (48, 45)}, {}),
        (RIGHT, {"framework": "tensorflow"}),
        (RIGHT, {"width": 0.25}),
        (RIGHT, {"recipe": replace(RECIPE, seed=0, epochs=3)}),
    ],
    ids=["one seed", "a framework twice", "another width", "another recipe"],
)
def test_runs_that_are_no_pairs_over_seeds_are_not_paired(pairs, right, change):
    assert pairs(right, (0, "torch"), **change) is None


def test_power_of_a_detectable_difference_is_four_of_five():
    """G*Power gives an effect of 1.68 for five differences with a spread of 1."""
    spread = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    unit = spread / spread.std(ddof=1)
    assert detectable_difference(unit) == pytest.approx(1.68, abs=0.01)
    assert detectable_difference([0.1]) is None
    assert detectable_difference([0.1, 0.1]) is None
