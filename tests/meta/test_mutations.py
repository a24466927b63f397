"""One-line breaks: each must push the very figure that the parity tests bound over its bound."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from support.comparing import (
    TINY,
    TINY_DROPOUT,
    logits_apart,
    losses_of,
    make_trainer,
    relative,
    starting_weights,
)

from alexnet_impl.data.batches import BatchPlan, chain_digest, epoch_batches
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.network.variants import build_spec
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights.canonical import weights_sha256

pytestmark = [pytest.mark.fast, pytest.mark.torch, pytest.mark.tensorflow]

HE = Recipe(initializer="he", input_scaling="imagenet", precision="float64", compile_mode="eager")
CIFAR = build_spec("cifar", width=1 / 16)
LRN = build_spec("krizhevsky2012", width=1 / 16, input_size=67)
SAME = build_spec("caffenet-like-same", width=1 / 16, input_size=64)
BOUND = tolerance("logits", "float64")
RATES = [2.0**-7] * 2 + [2.0**-10] * 2


@pytest.fixture(scope="module")
def split():
    return load_dataset(DataConfig(dataset="digits")).test.take(np.arange(8))


@functools.cache
def right_trainer(spec):
    return make_trainer("tensorflow", spec, HE)


def apart_if(spec, images, *, built=None, weights=None, fed=None):
    """relative() of TensorFlow's logits as they should be, and PyTorch's after one change."""
    right = right_trainer(spec).logits(images)
    given = starting_weights(spec, HE) if weights is None else weights
    broken = make_trainer("torch", spec if built is None else built, HE, given)
    return relative(right, broken.logits(images if fed is None else fed))


@pytest.mark.parametrize(
    "spec",
    [CIFAR, *(pytest.param(spec, marks=pytest.mark.slow) for spec in (LRN, SAME))],
    ids=lambda spec: spec.name,
)
def test_without_a_break_the_figures_hold(spec, split):
    assert apart_if(spec, split.images) <= BOUND


def test_a_forgotten_fc1_permutation_is_seen(monkeypatch, split):
    from alexnet_impl.frameworks.tensorflow import weights

    monkeypatch.setattr(weights, "flattened_kernels", lambda _: {})
    assert logits_apart(CIFAR, HE, split.images) > BOUND


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"alpha": 1e-4 / 5}, {"size": 9}, {"k": 1.0}, {"beta": 0.5}])
def test_another_local_response_norm_is_seen(change, split):
    layers = tuple(
        replace(layer, **change) if layer.name.startswith("norm") else layer for layer in LRN.layers
    )
    broken = replace(LRN, layers=layers)
    assert apart_if(LRN, split.images, built=broken) > BOUND


@pytest.mark.slow
def test_same_padding_taken_from_the_other_side_is_seen(split):
    conv1 = SAME.layers[0]
    before, after = conv1.padding
    assert before != after
    broken = replace(SAME, layers=(replace(conv1, padding=(after, before)), *SAME.layers[1:]))
    assert apart_if(SAME, split.images, built=broken) > BOUND


def test_a_kernel_with_height_and_width_swapped_is_seen(split):
    weights = starting_weights(CIFAR, HE)
    weights["conv3.weight"] = np.ascontiguousarray(weights["conv3.weight"].swapaxes(2, 3))
    assert apart_if(CIFAR, split.images, weights=weights) > BOUND


def test_swapped_colour_channels_are_seen():
    colourful = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    swapped = np.ascontiguousarray(colourful[..., ::-1])
    assert apart_if(CIFAR, colourful, fed=swapped) > BOUND


@pytest.fixture(scope="module")
def losses_in_tensorflow(split):
    """Losses of TensorFlow's four steps with a recipe, trained once for each."""

    @functools.cache
    def losses_in_tensorflow(recipe):
        return losses_of(
            make_trainer("tensorflow", TINY, recipe), split.images, split.labels, RATES
        )

    return losses_in_tensorflow


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "change"),
    [
        (HE, {"nesterov": True}),
        (replace(HE, optimizer="adam"), {"epsilon": 1e-7}),
        (HE, {"weight_decay": 2.0**-9}),
        (replace(HE, weight_decay=2.0**-5), {"weight_decay_on": "kernels"}),
        (replace(HE, optimizer="adam", weight_decay=2.0**-5), {"optimizer": "adamw"}),
        (HE, {"label_smoothing": 0.125}),
        (HE, {"clip_norm": 1.0}),
    ],
    ids=["nesterov", "epsilon", "decay", "bias-decay", "coupled", "smoothing", "clipping"],
)
def test_another_update_is_seen_within_four_steps(recipe, change, split, losses_in_tensorflow):
    recipe = replace(recipe, last_layer_std=0.1)
    batch = (split.images, split.labels)
    right = losses_in_tensorflow(recipe)
    same = losses_of(make_trainer("torch", TINY, recipe), *batch, RATES)
    other = losses_of(make_trainer("torch", TINY, replace(recipe, **change)), *batch, RATES)
    bound = tolerance("update", "float64")
    assert relative(right, same) <= bound
    assert relative(right, other) > bound


@pytest.mark.slow
def test_kerass_own_momentum_is_seen_once_the_rate_changes(split):
    keras = pytest.importorskip("keras")
    recipe = replace(HE, last_layer_std=0.1, momentum=0.875)
    batch = (split.images, split.labels)
    right = losses_of(make_trainer("torch", TINY, recipe), *batch, RATES)
    trainer = make_trainer("tensorflow", TINY, recipe)
    trainer.rules = trainer.optimizer = keras.optimizers.SGD(0.01, momentum=0.875)
    other = losses_of(trainer, *batch, RATES)
    # Keras holds hyper-parameters in float32, hence the wider bound while the rate is constant.
    assert relative(right[:3], other[:3]) < 1e-6
    assert relative(right[3:], other[3:]) > 1e-5


@pytest.mark.slow
def test_a_step_resumed_without_its_optimizer_state_is_seen(framework, split):
    name = framework.__name__.rpartition(".")[2]
    batch = (split.images, split.labels)
    straight = make_trainer(name, TINY, replace(HE, precision="float32"))
    losses_of(straight, *batch, RATES[:2])
    weights, state = straight.weights(), straight.state()
    losses_of(straight, *batch, RATES[2:4])
    digests = []
    for kept in (state, {k: v for k, v in state.items() if not k.endswith("momentum")}):
        resumed = make_trainer(name, TINY, replace(HE, precision="float32"))
        resumed.restore(weights, kept)
        losses_of(resumed, *batch, RATES[2:4])
        digests.append(weights_sha256(resumed.weights()))
    assert digests[0] == weights_sha256(straight.weights())
    assert digests[1] != digests[0]


@pytest.mark.parametrize(
    "change",
    [{"drop_last": True}, {"seed": 1}, {"flip": True}, {"crop_padding": 1}, {"shuffle": False}],
    ids=lambda change: next(iter(change)),
)
def test_other_batches_are_seen_in_the_digest(change, split):
    def digest_of(plan):
        digest = ""
        for batch in epoch_batches(split, plan, epoch=0):
            digest = chain_digest(digest, batch)
        return digest

    plan = BatchPlan(global_batch_size=3, seed=0)
    assert digest_of(plan) == digest_of(replace(plan))
    assert digest_of(plan) != digest_of(replace(plan, **change))


def test_dropout_left_on_at_evaluation_is_seen(monkeypatch, framework, split):
    name = framework.__name__.rpartition(".")[2]
    expected = make_trainer(name, TINY, HE).logits(split.images)
    trainer = make_trainer(name, TINY_DROPOUT, HE)
    assert relative(expected, trainer.logits(split.images)) <= BOUND
    if name == "torch":
        monkeypatch.setattr(trainer.model, "eval", trainer.model.train)
    else:
        call = trainer.model.__call__
        monkeypatch.setattr(trainer, "model", lambda images, **_: call(images, training=True))
    assert relative(expected, trainer.logits(split.images)) > BOUND
