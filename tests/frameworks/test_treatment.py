"""What a framework does to pixels is what the plain reference does, for weights of any library."""

import numpy as np
import pytest
from comparing import TINY

from alexnet_impl.data import INPUT_SCALINGS, treat
from alexnet_impl.recipe import Recipe
from alexnet_impl.tolerances import tolerance
from alexnet_impl.weights import initial_weights

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("resize_to", [None, 8, 12], ids=["whole", "as large", "middle cut out"])
@pytest.mark.parametrize("scaling", INPUT_SCALINGS)
def test_pixels_are_treated_as_the_reference_does(framework, framework_name, scaling, resize_to):
    recipe = Recipe(input_scaling=scaling, resize_to=resize_to)
    trainer = framework.make_trainer(TINY, recipe, initial_weights(TINY, recipe), "cpu")
    images = np.random.default_rng(0).integers(0, 256, (2, 10, 10, 3), np.uint8)
    found = np.asarray(trainer.treat(images))
    if framework_name == "torch":
        found = found.transpose(0, 2, 3, 1)
    expected = treat(images, INPUT_SCALINGS[scaling], 8, resize_to=resize_to)
    bound = tolerance("treatment", "float32") * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=bound)
