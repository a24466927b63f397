"""Each part of the collapse's rule is needed: without it, a healthy network raises the alarm."""

import math

import numpy as np
import pytest
from support.comparing import TINY, make_trainer

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.training import collapse
from alexnet_impl.training.collapse import CHECKS_IN_A_ROW, CollapseDetector, layer_statistics
from alexnet_impl.weights.initializers import initial_weights

pytestmark = [pytest.mark.fast, pytest.mark.torch]

STEPS = 8
PLATEAU = Recipe(initializer="paper", bias_initializer="zeros", compile_mode="eager")
"""Small weights: the loss stays near ln 10 for long, as R3's does, while every unit is alive."""
CRIPPLED = Recipe(initializer="he", learning_rate=0.01, compile_mode="eager")
"""All units of fc1 but one are killed below, and the network learns with what is left."""


@pytest.fixture(scope="module")
def train():
    return load_dataset(DataConfig(dataset="synthetic", train_images=16, image_size=8)).train


def checks(recipe, weights, train):
    """ActivationStatistics and loss after each step."""
    trainer = make_trainer("torch", TINY, recipe, weights)
    for step in range(STEPS):
        handle = trainer.train_step(train.images, train.labels, recipe.learning_rate)
        [value] = trainer.read([handle])
        yield layer_statistics(trainer.activations(train.images), TINY, step), value.loss


@pytest.fixture(scope="module")
def plateau(train):
    return list(checks(PLATEAU, initial_weights(TINY, PLATEAU), train))


@pytest.fixture(scope="module")
def crippled(train):
    weights = initial_weights(TINY, CRIPPLED)
    weights["fc1.bias"] = np.where(np.arange(32) == 0, 1, -100).astype(np.float32)
    weights["fc1.weight"][0] = np.abs(weights["fc1.weight"][0])
    return list(checks(CRIPPLED, weights, train))


def is_alarmed(seen):
    detector = CollapseDetector()
    return any(detector.check(statistics) for statistics, _ in seen)


def test_healthy_networks_raise_no_alarm(plateau, crippled):
    assert not is_alarmed(plateau)
    assert not is_alarmed(crippled)


def test_without_dead_units_a_plateau_would_raise_it(plateau, monkeypatch):
    monkeypatch.setattr(collapse, "DEAD_SHARE", 0.0)
    assert is_alarmed(plateau)


def test_without_equal_logits_a_crippled_network_would_raise_it(crippled, monkeypatch):
    monkeypatch.setattr(collapse, "LOGITS_STD", math.inf)
    assert is_alarmed(crippled)


def test_the_loss_alone_would_call_a_plateau_a_collapse(plateau):
    near = [abs(loss - math.log(10)) < 0.02 for _, loss in plateau]
    assert all(near[-CHECKS_IN_A_ROW:])
