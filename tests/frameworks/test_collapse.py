"""Collapse checks on a dead network and on a healthy one, in each framework."""

from dataclasses import replace

import numpy as np
import pytest
from support.comparing import TINY, TINY_DROPOUT
from support.fake_framework import RecordingObserver
from support.starting import start_run

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.network.variants import VARIANTS, Variant
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.training.collapse import (
    CHECKS_IN_A_ROW,
    CollapseDetector,
    layer_statistics,
    probe,
)
from alexnet_impl.weights.canonical import weights_sha256
from alexnet_impl.weights.initializers import initial_weights

pytestmark = pytest.mark.fast

HE = Recipe(initializer="he", learning_rate=0.01, compile_mode="eager")
DATA = DataConfig(dataset="synthetic", train_images=48, test_images=16, image_size=8)


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(DATA)


def trained(framework, spec, recipe, images, labels, *, probed):
    """Weights and state after three steps of different rates."""
    trainer = framework.make_trainer(spec, recipe, initial_weights(spec, recipe), "cpu")
    if probed:
        shift = probe(trainer, spec, images, labels, recipe.learning_rate).shift
        assert list(shift) == ["conv1", "fc1", "fc2"]
        assert all(value > 0 for value in shift.values())
    for rate in (0.005, 0.01, 0.001):
        trainer.train_step(images, labels, rate)
    return weights_sha256(trainer.weights()), weights_sha256(trainer.state())


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe",
    [
        replace(
            HE,
            nesterov=True,
            weight_decay=0.01,
            momentum_formula="keras",
            dropout_masks="shared",
        ),
        replace(HE, optimizer="adam", precision="float16"),
    ],
    ids=["sgd", "adam in float16"],
)
def test_probe_takes_its_step_back_to_the_last_bit(framework, dataset, recipe):
    images, labels = dataset.train.images[:16], dataset.train.labels[:16]
    runs = [
        trained(framework, TINY_DROPOUT, recipe, images, labels, probed=probed)
        for probed in (False, True)
    ]
    assert runs[0] == runs[1]


def checks(framework, weights, images, labels):
    """What the detector says after each of some steps, and the last statistics."""
    trainer = framework.make_trainer(TINY, HE, weights, "cpu")
    detector = CollapseDetector()
    alarms = []
    for step in range(CHECKS_IN_A_ROW):
        trainer.train_step(images, labels, HE.learning_rate)
        statistics = layer_statistics(trainer.activations(images), TINY, step)
        alarms.append(detector.check(statistics))
    return alarms, statistics


@pytest.mark.slow
def test_dead_network_is_detected(framework, dataset):
    images, labels = dataset.train.images[:16], dataset.train.labels[:16]
    weights = initial_weights(TINY, HE)
    weights["conv1.bias"] = np.full_like(weights["conv1.bias"], -100)
    alarms, statistics = checks(framework, weights, images, labels)
    assert alarms == [False] * (CHECKS_IN_A_ROW - 1) + [True]
    assert statistics.dead_share["relu1"] == 1
    assert statistics.logits_std < 1e-6


@pytest.mark.slow
def test_network_that_learns_is_not_taken_for_dead(framework, dataset):
    images, labels = dataset.train.images[:16], dataset.train.labels[:16]
    alarms, statistics = checks(framework, initial_weights(TINY, HE), images, labels)
    assert not any(alarms)
    assert statistics.dead_share["relu1"] < 0.5
    assert statistics.logits_std > 0.1


@pytest.mark.slow
def test_checks_change_no_bit_of_a_run(framework, framework_name, dataset, tmp_path, monkeypatch):  # noqa: ARG001
    tiny = Variant(
        source="tests",
        about="TINY with Dropout",
        input_size=8,
        published_num_params={},
        layers=lambda *_: iter(TINY_DROPOUT.layers),
    )
    monkeypatch.setitem(VARIANTS, "tiny", tiny)
    recipe = replace(HE, optimizer="adam", global_batch_size=16, warmup=0.5)
    facts = []
    for on_collapse in ("warn", "ignore"):
        config = RunConfig(
            framework=framework_name,
            variant="tiny",
            width=1.0,
            recipe=recipe,
            data=DATA,
            device="cpu",
            on_collapse=on_collapse,
        )
        result = start_run(tmp_path / on_collapse, config, dataset, RecordingObserver())
        folder = RunFolder.open(tmp_path / on_collapse)
        assert (result.collapse is None) == (on_collapse == "ignore")
        facts.append((weights_sha256(folder.read_weights()), folder.history.step_loss))
    assert facts[0] == facts[1]
