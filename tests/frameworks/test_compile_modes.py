"""Eager, default and compiled steps compute the same."""

from dataclasses import replace

import numpy as np
import pytest
from support.comparing import ALL_LAYERS, TINY

from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights.initializers import initial_weights

SPECS = {"eager": TINY, "compiled": ALL_LAYERS}
RECIPE = Recipe(initializer="he", last_layer_std=0.01)


def losses_of(framework, spec, compile_mode):
    recipe = replace(RECIPE, compile_mode=compile_mode)
    trainer = framework.make_trainer(spec, recipe, initial_weights(spec, recipe), "cpu")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
    handles = [trainer.train_step(images, np.arange(16) % 10, 0.01) for _ in range(3)]
    return [value.loss for value in trainer.read(handles)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "compile_mode",
    [
        pytest.param("eager", marks=pytest.mark.fast),
        pytest.param("compiled", marks=pytest.mark.slow),
    ],
)
def test_compile_mode_changes_no_loss(framework, compile_mode):
    reference = losses_of(framework, SPECS[compile_mode], "default")
    found = losses_of(framework, SPECS[compile_mode], compile_mode)
    np.testing.assert_allclose(found, reference, rtol=tolerance("update", "float32"))
