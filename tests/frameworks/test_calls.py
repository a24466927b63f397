"""Several steps in one call, and batches cut out of images on the device: to the same bits."""

from dataclasses import replace

import numpy as np
import pytest
from support.comparing import TINY, TINY_DROPOUT

from alexnet_impl.data.batches import BatchPlan, epoch_gather_indices, pick
from alexnet_impl.data.dataset import Split
from alexnet_impl.errors import FrameworkError
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights.initializers import initial_weights

HE = Recipe(initializer="he", last_layer_std=0.01, learning_rate=0.01)


def make_trainer(framework, spec, recipe):
    return framework.make_trainer(spec, recipe, initial_weights(spec, recipe), "cpu")


def several_batches(count=3):
    """GatherIndices of 40 images, the batches that they are, and the images."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (40, 32, 32, 3), np.uint8), rng.integers(0, 10, 40)
    plan = BatchPlan(global_batch_size=8, seed=1, flip=True, crop_padding=2)
    split = Split(images=images, labels=labels)
    indices = list(epoch_gather_indices(split, plan, 0))[:count]
    return images, indices, [pick(images, each, 2) for each in indices]


CALLS = [
    pytest.param("eager", marks=pytest.mark.slow),
    pytest.param("default", marks=pytest.mark.fast),
    pytest.param("compiled", marks=pytest.mark.slow),
]


def everything(trainer):
    """Weights, optimiser, random state."""
    return trainer.weights() | trainer.state()


def assert_same(found, expected, compile_mode):
    """Bit for bit; XLA fuses the operations of a loop otherwise than those of a step."""
    assert found.keys() == expected.keys()
    rtol = tolerance("update", "float32") if compile_mode == "compiled" else 0
    for name, array in expected.items():
        bound = rtol * np.abs(array).max() if array.dtype.kind == "f" and array.size else 0
        np.testing.assert_allclose(found[name], array, rtol=0, atol=bound, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("compile_mode", CALLS)
def test_steps_of_one_call_are_those_of_many(framework, compile_mode):
    """Weights, optimiser, random state, losses: with dropout, and a rate that changes."""
    _, _, batches = several_batches()
    recipe = replace(HE, compile_mode=compile_mode, nesterov=True)
    rates = [0.01, 0.02, 0.005]
    one = make_trainer(framework, TINY_DROPOUT, recipe)
    handles = [
        one.train_step(each.images, each.labels, rate)
        for each, rate in zip(batches, rates, strict=True)
    ]
    expected = everything(one)
    many = make_trainer(framework, TINY_DROPOUT, recipe)  # PyTorch's generator is the process's
    images, labels = [b.images for b in batches], [b.labels for b in batches]
    handle = many.train_steps(images, labels, rates)
    losses = [[value.loss for value in t.read(h)] for t, h in ((one, handles), (many, [handle]))]
    np.testing.assert_allclose(*losses, rtol=tolerance("loss", "float32"))
    assert_same(everything(many), expected, compile_mode)
    assert len(many.read([handle, many.train_step(images[0], labels[0], 0.01)])) == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"optimizer": "adam"}, id="adam", marks=pytest.mark.fast),
        pytest.param({"optimizer": "muon"}, id="muon", marks=pytest.mark.slow),
        pytest.param({"precision": "float16"}, id="float16", marks=pytest.mark.slow),
    ],
)
def test_steps_of_one_call_count_as_many_updates(framework, changes):
    """Adam's step, Muon's kernels and the loss scale move inside of the call."""
    _, _, batches = several_batches()
    recipe = replace(HE, momentum=0.5, **changes)
    one, many = (make_trainer(framework, TINY, recipe) for _ in range(2))
    for each in batches:
        one.train_step(each.images, each.labels, 0.001)
    images, labels = [b.images for b in batches], [b.labels for b in batches]
    many.train_steps(images, labels, [0.001] * len(batches))
    assert_same(everything(many), everything(one), "default")


@pytest.mark.slow
def test_indices_without_images_on_the_device_are_refused(framework, framework_name):
    _, (first, *_), _ = several_batches()
    trainer = make_trainer(framework, TINY, HE)
    with pytest.raises(
        FrameworkError,
        match=rf"{framework_name}: the device has no images; call put_dataset_on_device\(\)",
    ):
        trainer.train_step(first, first.labels, 0.01)


@pytest.mark.slow
def test_new_dataset_on_the_device_replaces_the_old_one(framework):
    images, (first, *_), _ = several_batches()
    trainers = [make_trainer(framework, TINY, HE) for _ in range(2)]
    trainers[0].put_dataset_on_device(255 - images, 2)
    trainers[0].train_step(first, first.labels, 0.0)
    losses = []
    for trainer in trainers:
        trainer.put_dataset_on_device(images, 2)
        handle = trainer.train_step(first, first.labels, 0.0)
        losses += [value.loss for value in trainer.read([handle])]
    assert losses[0] == losses[1]


@pytest.mark.slow
@pytest.mark.parametrize("compile_mode", CALLS)
def test_images_on_the_device_are_cut_as_on_the_host(framework, compile_mode):
    images, indices, batches = several_batches()
    recipe = replace(HE, compile_mode=compile_mode)
    host, device = (make_trainer(framework, TINY, recipe) for _ in range(2))
    device.put_dataset_on_device(images, 2)
    for each in batches:
        host.train_step(each.images, each.labels, 0.01)
    first, *rest = indices
    device.train_step(first, first.labels, 0.01)
    device.train_steps(rest, [each.labels for each in rest], [0.01] * len(rest))
    assert_same(everything(device), everything(host), compile_mode)
