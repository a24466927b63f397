"""What can be run is what the reports say, and each experiment can be built and started."""

import math

import pytest

from alexnet_impl.data.batches import BatchPlan, num_batches
from alexnet_impl.data.preprocessing import INPUT_SCALINGS
from alexnet_impl.errors import UnknownNameError
from alexnet_impl.network.spec import trace
from alexnet_impl.network.variants import build_spec
from alexnet_impl.recipe.phases import num_epochs, phase_recipes
from alexnet_impl.report.ledger.experiments import assumption_lines, full_flops
from alexnet_impl.reproduction.catalogue.budget import BUDGETS, get_budget
from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS, PAIRS, get_experiment
from alexnet_impl.reproduction.catalogue.transfer import R2_BUFFER
from alexnet_impl.reproduction.claims.queries import curve_claims
from alexnet_impl.training.features import cut_network
from alexnet_impl.weights.published_files import find_published

pytestmark = pytest.mark.fast

SCRATCH = (
    *("R0-torch", "R0-tf", "R0-tf-in-memory", "R1-torch", "R1-tf"),
    *("R2-tf", "R2-tf-big", "R2-tf-augmented", "R2-torch"),
    *("R3-torch", "R3-tf", "R4-torch", "R4-tf"),
)
PRETRAINED = {
    "R1-torch-pretrained": ("torchvision", "torchvision:IMAGENET1K_V1"),
    "R1-tf-resnet50": ("resnet50", "keras:imagenet"),
    "R2-tf-converted": ("torchvision", "torchvision:IMAGENET1K_V1"),
    "R2-tf-converted-permuted": ("torchvision", "torchvision:IMAGENET1K_V1"),
    "R2-torch-pretrained": ("torchvision", "torchvision:IMAGENET1K_V1"),
    "R3-torch-pretrained": ("torchvision", "torchvision:IMAGENET1K_V1"),
    "R3-tf-vgg16": ("vgg16", "keras:imagenet"),
    "R3-tf-vgg16-twice": ("vgg16", "keras:imagenet"),
    "R4-torch-pretrained": ("torchvision", "torchvision:IMAGENET1K_V1"),
    "R4-tf-vgg16": ("vgg16", "keras:imagenet"),
    "R4-tf-vgg16-cached": ("vgg16", "keras:imagenet"),
    "R4-tf-mobilenetv2": ("mobilenetv2", "keras:imagenet"),
}
"""Variant and weights."""
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
TRAINED = {
    # R0: lines 15, 17, 28, 112, 177, 191, 195.
    "R0-torch": ("adam", 1e-3, 32, 10, 227, "symmetric"),
    "R0-tf": ("adam", 1e-3, 32, 10, 227, "unit"),
    "R0-tf-in-memory": ("adam", 1e-3, 32, 10, 227, "unit"),
    # R1: epochs in lines 63 and 90, R1-tf's size in its listing; the rest is assumed.
    "R1-torch": ("sgd", 1e-3, 32, 10, 224, "symmetric"),
    "R1-tf": ("sgd", 1e-3, 32, 10, 227, "unit"),
    "R1-torch-pretrained": ("sgd", 1e-3, 32, 10, 224, "imagenet"),
    "R1-tf-resnet50": ("sgd", 1e-3, 32, 10, 224, "caffe"),
    # R2: lines 35, 60, 105, 156, 158, 267; see its assumptions.
    "R2-tf": ("sgd", 1e-3, 128, 20, 224, "unit"),
    "R2-tf-big": ("sgd", 1e-3, 128, 20, 224, "unit"),
    "R2-tf-augmented": ("sgd", 1e-3, 128, 15, 224, "unit"),
    "R2-torch": ("sgd", 1e-3, 64, 20, 224, "symmetric"),
    "R2-tf-converted": ("sgd", 1e-3, 128, 10, 224, "imagenet"),
    "R2-tf-converted-permuted": ("sgd", 1e-3, 128, 10, 224, "imagenet"),
    "R2-torch-pretrained": ("sgd", 1e-3, 64, 20, 224, "imagenet"),
    # R3: lines 110, 116, 145, 340 to 350, 370, 786 to 792, 849, 859, 995 to 1003, 1027, 1035.
    "R3-torch": ("sgd", 1e-3, 30, 20, 32, "symmetric"),
    "R3-tf": ("sgd", 1e-3, 30, 20, 32, "symmetric"),
    "R3-torch-pretrained": ("sgd", 1e-3, 30, 20, 224, "imagenet"),
    "R3-tf-vgg16": ("sgd", 1e-3, 30, 10, 224, "caffe"),
    "R3-tf-vgg16-twice": ("sgd", 1e-3, 30, 10, 224, "symmetric-then-caffe"),
    # R4: lines 29, 30, 34, 40, 46, 58, 59, 77, 89, 90; see its assumptions.
    "R4-torch": ("adam", 1e-3, 32, 10, 32, "symmetric"),
    "R4-tf": ("adam", 1e-3, 32, 10, 32, "symmetric"),
    "R4-torch-pretrained": ("adam", 1e-3, 32, 10, 224, "imagenet"),
    "R4-tf-vgg16": ("adam", 1e-3, 128, 10, 224, "caffe"),
    "R4-tf-vgg16-cached": ("adam", 1e-3, 128, 10, 224, "caffe"),
    "R4-tf-mobilenetv2": ("adam", 1e-3, 8, 10, 128, "symmetric"),
}
"""Optimizer, learning rate, batch, epochs, input size in pixels, scaling: as read in the reports'
texts, and where they are silent as the experiment's assumptions say."""
CURVES = ("R3-torch-pretrained", "R3-tf-vgg16")
"""Pretrained experiments whose losses are published by epoch."""


def spec_of(experiment):
    return build_spec(experiment.variant, input_size=experiment.recipe.input_size)


def test_every_scratch_experiment_of_the_reports_is_there():
    assert tuple(e.id for e in EXPERIMENTS.values() if e.weights is None) == SCRATCH


def test_every_pretrained_experiment_of_the_reports_is_there():
    found = {e.id: (e.variant, e.weights) for e in EXPERIMENTS.values() if e.weights}
    assert found == PRETRAINED
    assert list(found) == list(PRETRAINED)


@pytest.mark.parametrize("name", PRETRAINED)
def test_weights_are_published_and_fed_what_they_were_trained_on(name):
    experiment = EXPERIMENTS[name]
    size = spec_of(experiment).input_shape[1]
    entry = find_published(experiment.weights, experiment.variant, size)
    scaling = experiment.recipe.input_scaling
    if INPUT_SCALINGS[scaling].mistaken:
        assert name == "R3-tf-vgg16-twice"
    else:
        assert scaling == entry.input_scaling
    assert size == entry.input_size


def test_features_are_kept_where_layers_are_frozen_and_none_are_resized_at_once():
    kept = {e.id for e in EXPERIMENTS.values() if e.cache_features}
    frozen = {e.id for e in EXPERIMENTS.values() if e.recipe.trainable == "head"}
    assert kept == frozen - {"R4-tf-vgg16"}
    layers = {n: cut_network(spec_of(EXPERIMENTS[n]), EXPERIMENTS[n].recipe).layer for n in kept}
    assert layers == {
        "R3-tf-vgg16": "backbone",
        "R3-tf-vgg16-twice": "backbone",
        "R4-torch-pretrained": "pool5",
        "R4-tf-vgg16-cached": "backbone",
        "R4-tf-mobilenetv2": "average",
    }


def test_converted_weights_train_the_head_and_then_all_at_a_lower_rate():
    wrong, right = (EXPERIMENTS[f"R2-tf-converted{end}"] for end in ("", "-permuted"))
    assert (wrong.unpermuted, right.unpermuted) == (True, False)
    assert wrong.recipe == right.recipe
    parts = phase_recipes(wrong.recipe)
    assert [part.trainable for part in parts] == ["head", "all"]
    assert parts[1].learning_rate < parts[0].learning_rate
    assert num_epochs(wrong.recipe) == wrong.recipe.epochs


@pytest.mark.parametrize("name", TOTALS)
def test_network_has_the_published_number_of_parameters(name):
    experiment = EXPERIMENTS[name]
    assert trace(spec_of(experiment)).num_params == TOTALS[name]


def test_every_experiment_is_trained_as_its_report_says():
    found = {
        experiment.id: (
            experiment.recipe.optimizer,
            experiment.recipe.learning_rate,
            experiment.recipe.global_batch_size,
            experiment.recipe.epochs,
            spec_of(experiment).input_shape[1],
            experiment.recipe.input_scaling,
        )
        for experiment in EXPERIMENTS.values()
    }
    assert found == TRAINED
    assert {e.recipe.momentum for e in EXPERIMENTS.values() if e.recipe.optimizer == "sgd"} == {0.9}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_list_has_images_and_numbers_of_the_training(name):
    optimizer, rate, batch, epochs, size, scaling = TRAINED[name]
    images, training, *_ = assumption_lines(EXPERIMENTS[name])
    assert images == f"images: {EXPERIMENTS[name].data}"
    assert training.startswith(f"training: {optimizer} at {rate:g}, batches of {batch}, {epochs} ")
    assert training.endswith(f"; input of {size} pixels, {scaling}")
    assert ("trainable=head then epochs=5" in training) == name.startswith("R2-tf-converted")


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
def test_epoch_has_the_steps_that_the_report_prints_or_tells(experiment):
    recipe = experiment.recipe
    plan = BatchPlan(global_batch_size=recipe.global_batch_size, seed=0, drop_last=recipe.drop_last)
    num_images = round(50_000 * (1 - recipe.validation_fraction))
    assert num_batches(plan, num_images) == experiment.steps_per_epoch


@pytest.mark.parametrize("name", ["R0-torch", "R3-torch", "R3-tf", *CURVES])
def test_published_curve_is_as_long_as_the_experiment(name):
    assert len(curve_claims(name)) == EXPERIMENTS[name].recipe.epochs


def test_what_a_mistake_is_corrected_by_is_there():
    mistakes = {e.id for e in EXPERIMENTS.values() if e.mistake}
    assert mistakes == {e.corrects for e in EXPERIMENTS.values() if e.corrects}
    assert mistakes == {
        *("R0-tf-in-memory", "R2-tf-big", "R2-tf-converted"),
        *("R3-tf-vgg16-twice", "R4-tf-vgg16"),
    }


def test_pairs_are_one_of_each_framework():
    for names in PAIRS:
        assert [EXPERIMENTS[name].framework for name in names] == ["torch", "tensorflow"]


def test_report_that_leaves_things_out_has_assumptions():
    complete = [e.id for e in EXPERIMENTS.values() if not e.assumptions]
    assert complete == ["R3-torch", "R3-tf", "R3-tf-vgg16"]


def test_every_experiment_says_of_a_buffer_that_its_report_does_not():
    unsaid = {e.id for e in EXPERIMENTS.values() if e.recipe.shuffle_buffer == 10_000}
    assert {e.id for e in EXPERIMENTS.values() if R2_BUFFER in e.assumptions} == unsaid
    assert "R2-tf-big" in unsaid


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("R1-torch", "how the accuracy on the training images was measured is not said"),
        ("R1-tf", "how the accuracy on the training images was measured is not said"),
        ("R2-tf-augmented", "on which images it is above 80 % is not said"),
        ("R2-torch-pretrained", "no part for validation is said"),
    ],
)
def test_reading_of_a_figure_that_could_be_read_otherwise_is_an_assumption(name, words):
    assert [text for text in EXPERIMENTS[name].assumptions if text.startswith(words)]


def test_wrong_id_offers_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'R3-torch'"):
        get_experiment("R3-troch")


@pytest.mark.parametrize("name", BUDGETS)
def test_budget_changes_images_and_epochs_alone(name):
    recipe = EXPERIMENTS["R3-tf"].recipe
    cut = get_budget(name).recipe(recipe)
    assert {k for k, v in cut.to_dict().items() if v != recipe.to_dict()[k]} <= {"epochs"}


def test_phases_share_the_epochs_of_a_budget():
    recipe = EXPERIMENTS["R2-tf-converted"].recipe
    for name in ("hours", "minutes"):
        cut = BUDGETS[name].recipe(recipe)
        assert cut.phases == ("epochs=1,trainable=head", "epochs=1,learning_rate=0.0001")
        assert BUDGETS[name].label(recipe).endswith("2 of 10 epochs")
    assert BUDGETS["full"].recipe(recipe) == recipe


def test_label_says_what_was_cut():
    recipe = EXPERIMENTS["R3-tf"].recipe
    assert BUDGETS["full"].label(recipe) == ""
    assert BUDGETS["hours"].label(recipe) == "scaled down: all images, 3 of 20 epochs"
    assert BUDGETS["minutes"].label(recipe) == "scaled down: 5,000 images, 2 of 20 epochs"
    with pytest.raises(UnknownNameError, match="Did you mean 'minutes'"):
        get_budget("minute")


def test_training_costs_three_forward_passes():
    macs = trace(build_spec("cifar")).num_macs
    assert full_flops(EXPERIMENTS["R3-torch"]) == 2 * macs * 3 * 50_000 * 20


def test_learning_rate_is_constant_so_that_short_runs_are_prefixes():
    assert {e.recipe.schedule for e in EXPERIMENTS.values()} == {"constant"}
    assert math.isclose(max(e.recipe.warmup for e in EXPERIMENTS.values()), 0)
