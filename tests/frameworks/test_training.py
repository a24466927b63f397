"""One training step and a few of them, in each framework."""

import math
from dataclasses import replace

import numpy as np
import pytest
from support.comparing import ALL_LAYERS, TINY, TINY_DROPOUT, starting_weights

from alexnet_impl.data.preprocessing import INPUT_SCALINGS, preprocess
from alexnet_impl.errors import FrameworkError
from alexnet_impl.network.spec import Dropout
from alexnet_impl.network.variants import build_spec
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights.canonical import weights_sha256
from alexnet_impl.weights.initializers import initial_weights

# Eager: tracing a graph per test would take most of the time, and test_compile_modes.py shows that
# the mode changes no loss.
HE = Recipe(initializer="he", last_layer_std=0.01, learning_rate=0.01, compile_mode="eager")


def batch(count=16, size=8):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return images, rng.integers(0, 10, count)


def make_trainer(framework, spec, recipe):
    return framework.make_trainer(spec, recipe, starting_weights(spec, recipe), "cpu")


def train(trainer, steps, learning_rate=0.01):
    handles = [trainer.train_step(*batch(), learning_rate) for _ in range(steps)]
    return [value.loss for value in trainer.read(handles)]


PRECISIONS = ("float64", "float32", "bfloat16", "float16")


def assert_loss_falls(framework, spec, precision, learning_rate, steps):
    trainer = make_trainer(framework, spec, replace(HE, precision=precision))
    losses = train(trainer, steps, learning_rate)
    assert losses[0] == pytest.approx(math.log(10), abs=0.5)
    assert losses[-1] < losses[0] - 0.1


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_training_lowers_the_loss_in_every_precision(framework, precision):
    assert_loss_falls(framework, ALL_LAYERS, precision, 0.2, steps=4)


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("variant", "input_size"), [("cifar", 32), ("krizhevsky2012", 67)])
def test_training_lowers_the_loss_of_variants(framework, variant, input_size, precision):
    spec = build_spec(variant, width=1 / 16, input_size=input_size)
    assert_loss_falls(framework, spec, precision, 0.01, steps=8)


@pytest.mark.fast
def test_training_values_are_the_batch_mean_and_the_number_right(framework):
    trainer = make_trainer(framework, TINY, HE)
    images, labels = batch()
    logits = trainer.logits(images).astype(np.float64)
    log_probabilities = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    (value,) = trainer.read([trainer.train_step(images, labels, 0.0)])
    assert value.loss == pytest.approx(-log_probabilities[np.arange(16), labels].mean(), rel=1e-5)
    assert value.num_correct == (logits.argmax(1) == labels).sum()
    assert trainer.read([]) == []


@pytest.mark.fast
def test_label_smoothing_mixes_in_the_mean_over_classes(framework):
    trainer = make_trainer(framework, TINY, replace(HE, label_smoothing=0.2))
    images, labels = batch()
    logits = trainer.logits(images).astype(np.float64)
    log_probabilities = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    targets = 0.8 * np.eye(10)[labels] + 0.2 / 10
    (value,) = trainer.read([trainer.train_step(images, labels, 0.0)])
    assert value.loss == pytest.approx(-(targets * log_probabilities).sum(1).mean(), rel=1e-5)


OPTIMIZERS = {
    "sgd": Recipe(momentum=0.0),
    "momentum": Recipe(momentum=0.875),
    "nesterov": Recipe(momentum=0.875, nesterov=True),
    "sgd-l2": Recipe(momentum=0.875, weight_decay=0.125),
    "sgd-l2-kernels": Recipe(momentum=0.875, weight_decay=0.125, weight_decay_on="kernels"),
    "clipped": Recipe(momentum=0.875, clip_norm=0.25),
    "adam": Recipe(optimizer="adam"),
    "adam-epsilon": Recipe(optimizer="adam", epsilon=0.25),
    "adam-l2": Recipe(optimizer="adam", weight_decay=0.125),
    "adamw": Recipe(optimizer="adamw", weight_decay=0.125, weight_decay_on="kernels"),
}
RATES = [2.0**-6, 2.0**-6, 2.0**-9, 2.0**-8]
"""Exact in float32, and changing: momentum's two formulas differ once the rate changes."""


def one_fast(values, name):
    """A parameter per value, of which one runs in the fast tests and the others in the slow."""
    return [
        pytest.param(value, id=key, marks=pytest.mark.fast if key == name else pytest.mark.slow)
        for key, value in values.items()
    ]


def reference_update(recipe, rates, weights, gradients):
    """The formulas of Recipe, word for word, in float64; gradients by step."""
    slots = {name: (np.zeros_like(w), np.zeros_like(w)) for name, w in weights.items()}
    for t, (rate, gradient) in enumerate(zip(rates, gradients, strict=True), start=1):
        norm = math.sqrt(sum((g**2).sum() for g in gradient.values()))
        clip = 1.0 if recipe.clip_norm is None else min(1.0, recipe.clip_norm / (norm + 1e-6))
        for name, w in weights.items():
            decay = recipe.weight_decay if w.ndim > 1 or recipe.weight_decay_on == "all" else 0.0
            g = gradient[name] * clip
            first, second = slots[name]
            if recipe.optimizer == "adamw":
                w[...] -= rate * decay * w
            else:
                g = g + decay * w
            if recipe.optimizer == "sgd":
                first[...] = recipe.momentum * first + g
                w[...] -= rate * (g + recipe.momentum * first if recipe.nesterov else first)
                continue
            first[...] = recipe.beta1 * first + (1 - recipe.beta1) * g
            second[...] = recipe.beta2 * second + (1 - recipe.beta2) * g**2
            root = np.sqrt(second / (1 - recipe.beta2**t))
            w[...] -= rate * (first / (1 - recipe.beta1**t)) / (root + recipe.epsilon)


SMALL = replace(TINY, layers=(TINY.layers[0], *TINY.layers[2:4], TINY.layers[-1]))
"""Two kernels and two biases: enough for a formula."""
FAST_OPTIMIZERS = ("nesterov", "adamw")
FORMULAS = [
    pytest.param(
        replace(recipe, precision="float64", compile_mode="eager", fused_update=fused),
        marks=pytest.mark.fast if fused and name in FAST_OPTIMIZERS else pytest.mark.slow,
        id=f"{name}-{'fused' if fused else 'unfused'}",
    )
    for name, recipe in OPTIMIZERS.items()
    for fused in (True, False)
]


@pytest.mark.parametrize("recipe", FORMULAS)
def test_optimizer_follows_the_recipes_formula(framework, recipe):
    images, labels = batch()
    weights = starting_weights(SMALL, replace(HE, precision="float64"))
    trainer = framework.make_trainer(SMALL, recipe, weights, "cpu")
    gradients = []
    for rate in RATES:
        gradients.append(trainer.gradients(images, labels)[1])
        trainer.train_step(images, labels, rate)
    reference_update(recipe, RATES, weights, gradients)
    for name, array in trainer.weights().items():
        np.testing.assert_allclose(
            array, weights[name], rtol=0, atol=tolerance("update", "float64")
        )


@pytest.mark.tensorflow
@pytest.mark.parametrize("recipe", one_fast(OPTIMIZERS, "adam"))
def test_kernels_update_as_operations_do_in_float32(recipe):
    """Within rounding: the kernels subtract the betas from 1 in float32."""
    from alexnet_impl.frameworks import get_framework

    weights = []
    for fused in (True, False):
        kind = replace(recipe, compile_mode="eager", fused_update=fused, initializer="he")
        trainer = make_trainer(get_framework("tensorflow"), SMALL, kind)
        train(trainer, 1, learning_rate=0.125)
        weights.append(trainer.weights())
    before = initial_weights(SMALL, replace(recipe, initializer="he"))
    for name, array in before.items():
        moved = [after[name] - array for after in weights]
        size = np.abs(moved[1]).max()
        np.testing.assert_allclose(*moved, rtol=0, atol=2e-6 * max(size, np.abs(array).max()))


@pytest.mark.fast
@pytest.mark.torch
def test_own_optimizers_of_torch_take_no_closure():
    from alexnet_impl.frameworks import get_framework

    for recipe in (Recipe(optimizer="muon"), Recipe(optimizer="sgdw")):
        trainer = make_trainer(get_framework("torch"), TINY, recipe)
        with pytest.raises(TypeError, match="takes no closure"):
            trainer.optimizer.step(lambda: 0.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe", one_fast({name: OPTIMIZERS[name] for name in ("momentum", "adam")}, "adam")
)
def test_trainer_restored_from_its_state_goes_on_bit_for_bit(framework, recipe):
    recipe = replace(recipe, seed=3, compile_mode="default")
    straight = make_trainer(framework, TINY_DROPOUT, recipe)
    train(straight, 2)
    weights, state = straight.weights(), straight.state()
    expected = train(straight, 2)
    resumed = make_trainer(framework, TINY_DROPOUT, replace(recipe, seed=4))
    resumed.restore(weights, state)
    assert train(resumed, 2) == expected
    assert weights_sha256(resumed.weights()) == weights_sha256(straight.weights())


@pytest.mark.fast
def test_a_step_that_overflows_in_float16_leaves_no_trace(framework):
    """The loss scaler skips it; what the optimiser keeps must then be zeros, not memory."""
    recipe = replace(HE, precision="float16", momentum=0.875)
    weights = initial_weights(TINY, recipe)
    weights["fc2.weight"] *= np.float32(3e4)  # gradients beyond 65,504
    trainer = framework.make_trainer(TINY, recipe, weights, "cpu")
    train(trainer, 1)
    slots = {k: v for k, v in trainer.state().items() if k.endswith(".momentum")}
    assert slots
    assert all((array == 0).all() for array in slots.values())
    assert all(
        array.tobytes() == weights[name].tobytes() for name, array in trainer.weights().items()
    )


@pytest.mark.fast
def test_state_names_optimizer_slots_alike_in_every_framework(framework):
    trainer = make_trainer(framework, TINY, replace(OPTIMIZERS["adam"], compile_mode="eager"))
    train(trainer, 2)
    state = trainer.state()
    assert state["optimizer.step"] == 2
    slots = {name for name in state if name.startswith("optimizer.") and name.count(".") == 3}
    weights = trainer.weights()
    assert slots == {f"optimizer.{name}.{slot}" for name in weights for slot in ("first", "second")}
    assert all(state[f"optimizer.{name}.first"].shape == weights[name].shape for name in weights)


@pytest.mark.fast
def test_weights_returned_are_copies(framework):
    trainer = make_trainer(framework, TINY, HE)
    before = trainer.weights()
    digest = weights_sha256(before)
    train(trainer, 1)
    assert weights_sha256(before) == digest != weights_sha256(trainer.weights())


@pytest.mark.slow
def test_dropout_acts_in_training_alone_and_follows_the_seed(framework):
    images, _ = batch()
    trainer = make_trainer(framework, TINY_DROPOUT, HE)
    np.testing.assert_array_equal(trainer.logits(images), trainer.logits(images))
    losses = train(trainer, 2, learning_rate=0.0)
    assert losses[0] != losses[1]
    assert train(make_trainer(framework, TINY_DROPOUT, HE), 2, learning_rate=0.0) == losses
    assert train(make_trainer(framework, TINY_DROPOUT, replace(HE, seed=1)), 2, 0.0) != losses


@pytest.mark.fast
def test_two_dropout_layers_draw_masks_of_their_own(framework, framework_name):
    spec = replace(
        TINY, layers=(*TINY.layers[:4], Dropout(name="dropout1"), Dropout(name="dropout2"))
    )
    model = framework.build_model(spec)
    features = np.ones((4, 36), np.float32)
    if framework_name == "torch":
        import torch

        model.train()
        masks = [
            getattr(model, name)(torch.from_numpy(features)).numpy()
            for name in ("dropout1", "dropout2")
        ]
    else:
        masks = [
            model.get_layer(name)(features, training=True).numpy()
            for name in ("dropout1", "dropout2")
        ]
    assert all(set(np.unique(mask)) == {0.0, 2.0} for mask in masks)
    assert (masks[0] != masks[1]).any()


@pytest.mark.parametrize(
    ("scaling", "size"),
    [
        *(pytest.param(name, 24, marks=pytest.mark.slow) for name in INPUT_SCALINGS),
        pytest.param("caffe", 67, marks=pytest.mark.fast),
        pytest.param("unit", 32, marks=pytest.mark.fast),
    ],
)
def test_input_preprocessing_on_the_device_is_the_numpy_one(
    framework, framework_name, scaling, size
):
    images, _ = batch(4, size=32)
    spec = replace(TINY, input_shape=(3, size, size))
    recipe = replace(HE, input_scaling=scaling)
    trainer = make_trainer(framework, spec, recipe)
    if framework_name == "torch":
        import torch

        found = trainer.preprocessing(torch.from_numpy(images)).permute(0, 2, 3, 1).numpy()
    else:
        found = trainer.preprocessing(images).numpy()
    expected = preprocess(images, INPUT_SCALINGS[scaling], size)
    bound = tolerance("preprocessing", "float32") * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=bound)


@pytest.mark.fast
def test_a_gpu_that_is_not_there_is_refused(framework):
    if framework.fingerprint("auto")["device"] != "cpu":
        pytest.skip("there is a GPU")
    with pytest.raises(FrameworkError, match="sees no GPU here"):
        framework.make_trainer(TINY, HE, initial_weights(TINY, HE), "gpu")


@pytest.mark.fast
def test_an_unknown_device_is_refused(framework):
    with pytest.raises(FrameworkError, match="device 'tpu' is unknown"):
        framework.make_trainer(TINY, HE, initial_weights(TINY, HE), "tpu")


@pytest.mark.fast
@pytest.mark.tensorflow
def test_tensorflow_refuses_channels_first_with_the_reason():
    from alexnet_impl.frameworks.tensorflow import make_trainer as make

    recipe = replace(HE, memory_layout="channels-first")
    with pytest.raises(FrameworkError, match="channels-first is not supported by TensorFlow"):
        make(TINY, recipe, initial_weights(TINY, recipe), "cpu")


@pytest.mark.fast
@pytest.mark.torch
def test_torch_computes_the_same_in_both_memory_layouts():
    from alexnet_impl.frameworks import get_framework

    losses = [
        train(make_trainer(get_framework("torch"), TINY, replace(HE, memory_layout=layout)), 3)
        for layout in ("channels-first", "channels-last")
    ]
    np.testing.assert_allclose(*losses, rtol=tolerance("update", "float32"))


@pytest.mark.fast
def test_fingerprint_names_version_device_and_threads(framework, framework_name):
    facts = framework.fingerprint("cpu")
    assert framework_name in facts
    assert facts["device"] == "cpu"
    assert any("threads" in name for name in facts)
