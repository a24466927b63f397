"""What can be run is what the reports say, and each experiment can be built and started."""

import math

import pytest

from alexnet_impl.data import BatchPlan, num_batches
from alexnet_impl.errors import RunError, UnknownNameError
from alexnet_impl.experiments.budget import BUDGETS, get_budget, training_flops
from alexnet_impl.experiments.catalogue import EXPERIMENTS, PAIRS, get_experiment
from alexnet_impl.experiments.claims import curve_claims
from alexnet_impl.experiments.foreign import FOREIGN
from alexnet_impl.spec import trace
from alexnet_impl.variants import build_spec

pytestmark = pytest.mark.fast

SCRATCH = (
    *("R0-torch", "R0-tf", "R0-tf-in-memory", "R1-torch", "R1-tf"),
    *("R2-tf", "R2-tf-big", "R2-tf-augmented", "R2-torch"),
    *("R3-torch", "R3-tf", "R4-torch", "R4-tf"),
)
TOTALS = {
    "R0-torch": 57_044_810,
    "R0-tf": 57_044_810,
    "R1-torch": 56_278_666,
    "R1-tf": 58_322_314,
    "R2-tf": 58_322_314,
    "R2-torch": 58_322_314,
    "R3-torch": 29_585_290,
    "R3-tf": 29_585_290,
}
"""REPORTS.md's totals for 10 classes."""


def test_every_scratch_experiment_of_the_reports_is_there():
    assert tuple(EXPERIMENTS) == SCRATCH
    assert not set(EXPERIMENTS) & set(FOREIGN)


@pytest.mark.parametrize("name", TOTALS)
def test_network_has_the_published_number_of_parameters(name):
    experiment = EXPERIMENTS[name]
    spec = build_spec(experiment.variant, input_size=experiment.recipe.input_size)
    assert trace(spec).num_params == TOTALS[name]


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_defaults_are_the_frameworks_own(experiment):
    recipe = experiment.recipe
    formula = "keras" if experiment.framework == "tensorflow" else "torch"
    assert recipe.momentum_formula == recipe.epsilon_formula == formula
    assert recipe.initializer == f"{formula}-default"
    assert recipe.epsilon == (1e-7 if formula == "keras" else 1e-8)
    assert recipe.learning_rate == 1e-3
    assert recipe.loss_input == "logits"


@pytest.mark.parametrize(
    "experiment", [e for e in EXPERIMENTS.values() if e.steps_per_epoch], ids=lambda e: e.id
)
def test_epoch_has_the_steps_that_the_report_prints(experiment):
    recipe = experiment.recipe
    plan = BatchPlan(global_batch_size=recipe.global_batch_size, seed=0, drop_last=recipe.drop_last)
    num_images = round(50_000 * (1 - recipe.validation_fraction))
    assert num_batches(plan, num_images) == experiment.steps_per_epoch


@pytest.mark.parametrize("name", ["R0-torch", "R3-torch", "R3-tf"])
def test_published_curve_is_as_long_as_the_experiment(name):
    assert len(curve_claims(name)) == EXPERIMENTS[name].recipe.epochs


def test_what_a_mistake_is_corrected_by_is_there():
    mistakes = {e.id for e in EXPERIMENTS.values() if e.mistake}
    assert mistakes == {e.corrects for e in EXPERIMENTS.values() if e.corrects}
    assert mistakes == {"R0-tf-in-memory", "R2-tf-big"}


def test_pairs_are_one_of_each_framework():
    for names in PAIRS:
        assert [EXPERIMENTS[name].framework for name in names] == ["torch", "tensorflow"]


def test_report_that_leaves_things_out_has_assumptions():
    assert [e.id for e in EXPERIMENTS.values() if not e.assumptions] == ["R3-torch", "R3-tf"]


def test_wrong_id_offers_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'R3-torch'"):
        get_experiment("R3-troch")
    with pytest.raises(RunError, match="R3-tf-vgg16: trains VGG16"):
        get_experiment("R3-tf-vgg16")


@pytest.mark.parametrize("name", BUDGETS)
def test_budget_changes_images_and_epochs_alone(name):
    recipe = EXPERIMENTS["R3-tf"].recipe
    cut = get_budget(name).recipe(recipe)
    assert {k for k, v in cut.to_dict().items() if v != recipe.to_dict()[k]} <= {"epochs"}


def test_label_says_what_was_cut():
    recipe = EXPERIMENTS["R3-tf"].recipe
    assert BUDGETS["full"].label(recipe) == ""
    assert BUDGETS["hours"].label(recipe) == "scaled down: all images, 3 of 20 epochs"
    assert BUDGETS["minutes"].label(recipe) == "scaled down: 5,000 images, 2 of 20 epochs"
    with pytest.raises(UnknownNameError, match="Did you mean 'minutes'"):
        get_budget("minute")


def test_training_costs_three_forward_passes():
    assert training_flops(100, 10, 2) == 2 * 100 * 3 * 10 * 2


def test_learning_rate_is_constant_so_that_short_runs_are_prefixes():
    assert {e.recipe.schedule for e in EXPERIMENTS.values()} == {"constant"}
    assert math.isclose(max(e.recipe.warmup for e in EXPERIMENTS.values()), 0)
