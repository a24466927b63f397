"""The same weights give the same logits in both frameworks, on images of a real scale."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from support.comparing import logits_apart, make_trainer
from support.strategies import specs

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.network.variants import VARIANTS, build_spec
from alexnet_impl.parity.lockstep import l2_apart, largest
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.recipe.recipe import Precision, Recipe

pytestmark = [pytest.mark.torch, pytest.mark.tensorflow]

# He keeps the activations at the images' own scale through all layers; the frameworks' default
# initialisers shrink them, and a wrong LRN would not be seen.
HE = Recipe(
    initializer="he",
    bias_initializer="uniform",
    input_scaling="imagenet",
    compile_mode="eager",
)


@pytest.fixture(scope="module")
def images():
    return load_dataset(DataConfig(dataset="digits")).test.images[:4]


@pytest.fixture(scope="module")
def real_batch(request):
    """Images of CIFAR-10 and their labels where --data-dir has them, else coloured noise.

    In colour: the digits are grey, and a swapped channel would not be seen.
    """
    data = DataConfig(dataset="synthetic", train_images=60, test_images=40)
    if request.config.getoption("--data-dir"):
        data = DataConfig(data_dir=request.getfixturevalue("few_images"))
    test = load_dataset(data).test
    return test.images[::10], test.labels[::10]


@pytest.mark.slow
@pytest.mark.parametrize("precision", [one for one in get_args(Precision) if one != "auto"])
def test_logits_of_a_narrow_variant_are_equal_in_every_precision(precision, images):
    spec = build_spec("krizhevsky2012", width=1 / 16, input_size=67)
    found = logits_apart(spec, replace(HE, precision=precision), images[:2])
    assert found <= tolerance("logits", precision)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_of_every_narrow_variant_are_equal(variant, images):
    spec = build_spec(variant, width=1 / 16)
    found = logits_apart(spec, replace(HE, precision="float64"), images)
    assert found <= tolerance("logits", "float64")


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["cifar", "torchvision", "krizhevsky2012"])
def test_logits_at_full_width_are_equal(variant, real_batch):
    images, _ = real_batch
    spec = build_spec(variant)
    assert logits_apart(spec, HE, images) <= tolerance("logits", "float32")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "precision"), [("cifar", "float64"), ("krizhevsky2012", "float32")]
)
def test_gradients_at_full_width_are_equal(variant, precision, real_batch):
    spec = build_spec(f"{variant}+no-dropout")
    recipe = replace(HE, precision=precision)
    found = [
        make_trainer(name, spec, recipe).gradients(*real_batch) for name in ("torch", "tensorflow")
    ]
    (loss1, first), (loss2, second) = found
    assert abs(loss1 - loss2) / loss1 <= tolerance("loss", precision)
    apart = [l2_apart(first[name], second[name]) for name in first]
    assert largest(apart) <= tolerance("gradients", precision)
    assert np.median(apart) <= tolerance("median gradient", precision)


@pytest.mark.fast
@settings(max_examples=4)
@given(spec=specs(channels=3))
def test_logits_of_any_valid_spec_are_equal_in_float64(spec):
    recipe = replace(HE, precision="float64")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 3), dtype=np.uint8)
    assert logits_apart(spec, recipe, pixels) <= tolerance("logits", "float64")
