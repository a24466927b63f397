"""Both frameworks fine-tune alike from one file of weights: frozen layers, rates by layer."""

from dataclasses import replace

import numpy as np
import pytest
from support.comparing import relative
from support.starting import start_weights

from alexnet_impl.frameworks import FRAMEWORKS, get_framework
from alexnet_impl.network.variants import build_spec
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights.initializers import initial_weights
from alexnet_impl.weights.metadata import WeightsInfo, save_weights

pytestmark = [pytest.mark.torch, pytest.mark.tensorflow]

WIDTH = 0.0625
RECIPE = Recipe(
    initializer="he",
    precision="float64",
    compile_mode="eager",
    learning_rate=2.0**-7,
    nesterov=True,
    weight_decay=2.0**-9,
    input_scaling="imagenet",
    input_size=32,
    resize_to=40,
)
CASES = {
    "all": {},
    "head": {"trainable": "head"},
    "from conv4 on": {"trainable": "conv4,conv5,fc1,fc2,fc3"},
    "rates by layer": {"rate_factors": ("conv1=0.125", "fc3=8")},
    "both": {"trainable": "last-4", "rate_factors": ("fc3=3",), "optimizer": "adam"},
    "muon": {"trainable": "conv2,conv3,fc3", "rate_factors": ("conv3=0.5",), "optimizer": "muon"},
}


def update_of(framework_name, variant, path, recipe):
    """What three steps change, by weight."""
    spec = build_spec(variant, width=WIDTH, num_classes=4)
    weights = start_weights(str(path), spec, recipe, framework_name, WIDTH)
    trainer = get_framework(framework_name).make_trainer(spec, recipe, weights, "cpu")
    before = trainer.weights()
    rng = np.random.default_rng(0)
    for _ in range(3):
        images = rng.integers(0, 256, (8, 32, 32, 3), np.uint8)
        trainer.read([trainer.train_step(images, rng.integers(0, 4, 8), recipe.learning_rate)])
    after = trainer.weights()
    return {name: after[name] - before[name] for name in before}


def check_alike(folder, variant, changes):
    """Three steps from one file change each weight alike."""
    recipe = replace(RECIPE, **({"nesterov": False} if "optimizer" in changes else {}), **changes)
    path = folder / "given.safetensors"
    info = WeightsInfo(
        variant=variant, num_classes=10, input_size=32, width=WIDTH, input_scaling="imagenet"
    )
    save_weights(
        path, initial_weights(build_spec(variant, width=WIDTH), replace(RECIPE, seed=5)), info
    )
    first, second = (update_of(name, variant, path, recipe) for name in FRAMEWORKS)
    for name, array in first.items():
        if np.abs(array).max() == 0:
            np.testing.assert_array_equal(second[name], array, err_msg=name)
        else:
            assert relative(array, second[name]) < tolerance("update", "float64"), name


FAST = ("both",)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(changes, marks=pytest.mark.fast if name in FAST else pytest.mark.slow, id=name)
        for name, changes in CASES.items()
    ],
)
def test_both_frameworks_fine_tune_alike(tmp_path, changes):
    check_alike(tmp_path, "cifar", changes)


@pytest.mark.slow
def test_dropout_between_frozen_layers_draws_in_both(tmp_path):
    check_alike(tmp_path, "cifar-dropout", {"trainable": "head", "dropout_masks": "shared"})
