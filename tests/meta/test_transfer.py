"""The checks of transfer learning can fail: one line broken, and each goes red."""

from dataclasses import replace

import numpy as np
import pytest

from alexnet_impl.frameworks import get_framework
from alexnet_impl.network.variants import build_spec
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights.initializers import initial_weights

pytestmark = [pytest.mark.fast, pytest.mark.torch]

SPEC = build_spec("cifar", width=0.0625)
RECIPE = Recipe(initializer="he", learning_rate=0.05, trainable="head")


def moved_by_a_step(recipe):
    """Names of the weights that a step in PyTorch changes."""
    trainer = get_framework("torch").make_trainer(
        SPEC, recipe, initial_weights(SPEC, recipe), "cpu"
    )
    rng = np.random.default_rng(0)
    before = trainer.weights()
    images, labels = rng.integers(0, 256, (8, 32, 32, 3), np.uint8), rng.integers(0, 10, 8)
    trainer.read([trainer.train_step(images, labels, 0.05)])
    after = trainer.weights()
    return {name for name in before if not np.array_equal(before[name], after[name])}


def test_without_the_break_only_the_head_moves():
    assert moved_by_a_step(RECIPE) == {"fc3.weight", "fc3.bias"}


def test_layers_that_were_not_frozen_are_seen(monkeypatch):
    monkeypatch.setattr("alexnet_impl.frameworks.torch.training.freeze", lambda *_: [])
    assert "conv1.weight" in moved_by_a_step(RECIPE)


@pytest.mark.slow
def test_a_backbone_whose_statistics_are_not_kept_is_seen(monkeypatch):
    """Frozen weights alone are not enough: batch normalisation takes statistics in training."""
    from alexnet_impl.frameworks.torch import training

    spec = build_spec("mobilenetv2", input_size=32, num_classes=4)
    recipe = replace(RECIPE, learning_rate=1e-4)

    def statistics_moved():
        trainer = get_framework("torch").make_trainer(
            spec, recipe, initial_weights(spec, recipe), "cpu"
        )
        before = trainer.weights()
        images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
        trainer.read([trainer.train_step(images, np.arange(4), 1e-4)])
        after = trainer.weights()
        return any(not np.array_equal(before[n], after[n]) for n in before if "running" in n)

    assert not statistics_moved()
    monkeypatch.setattr(training.TorchTrainer, "_set_training", lambda self: self.model.train())
    assert statistics_moved()
