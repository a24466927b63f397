"""The device cuts out the same middle of an image as the NumPy reference."""

import numpy as np
import pytest
from support.comparing import TINY

from alexnet_impl.data.preprocessing import INPUT_SCALINGS, preprocess
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights.initializers import initial_weights

pytestmark = pytest.mark.fast


@pytest.mark.slow
@pytest.mark.parametrize("resize_to", [8, 9, 12])
def test_the_middle_is_cut_out_as_in_the_reference(framework, framework_name, resize_to):
    recipe = Recipe(input_scaling="caffe", resize_to=resize_to)
    trainer = framework.make_trainer(TINY, recipe, initial_weights(TINY, recipe), "cpu")
    images = np.random.default_rng(0).integers(0, 256, (2, 10, 10, 3), np.uint8)
    found = np.asarray(trainer.preprocess(images))
    if framework_name == "torch":
        found = found.transpose(0, 2, 3, 1)
    expected = preprocess(images, INPUT_SCALINGS["caffe"], 8, resize_to=resize_to)
    bound = tolerance("preprocessing", "float32") * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=bound)
