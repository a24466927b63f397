"""Muon: SGD whose updates of inner kernels are made orthogonal, singular values near 1."""

import math
from dataclasses import replace

import numpy as np
import pytest

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.errors import RecipeError
from alexnet_impl.network.spec import Conv, Dense, Flatten, MaxPool, Relu, Spec
from alexnet_impl.parity.lockstep import ParityCase, draw_batches, parity_recipe, train_in_step
from alexnet_impl.parity.reference import orthogonal_step
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.processes.remote_trainer import LocalSide
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights.canonical import inner_kernels
from alexnet_impl.weights.initializers import initial_weights

SPEC = Spec(
    name="inner",
    input_shape=(3, 8, 8),
    layers=(
        Conv(name="conv1", out_channels=4, kernel_size=3),
        Relu(name="relu1"),
        Conv(name="conv2", out_channels=12, kernel_size=1),
        Relu(name="relu2"),
        Conv(name="conv3", out_channels=6, kernel_size=3, groups=2),
        Relu(name="relu3"),
        MaxPool(name="pool3", kernel_size=2, stride=2),
        Flatten(name="flatten"),
        Dense(name="fc1", out_features=10),
    ),
)
"""conv2's matrix is taller than wide, conv3's is wider than tall, and grouped."""
MUON = Recipe(
    optimizer="muon",
    momentum=0.875,
    nesterov=True,
    muon_scale=0.5,
    weight_decay=0.125,
    initializer="he",
    precision="float64",
    compile_mode="eager",
)
RATES = [2.0**-6, 2.0**-6, 2.0**-9, 2.0**-8]


def float64_weights():
    return {k: v.astype(np.float64) for k, v in initial_weights(SPEC, MUON).items()}


def batch():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (16, 8, 8, 3), dtype=np.uint8), rng.integers(0, 10, 16)


def by_singular_values(matrix):
    """The same polynomial on singular values alone, which share their vectors with the result."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    values = values / (np.linalg.norm(matrix) + 1e-7)
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return left @ np.diag(values) @ right


@pytest.mark.fast
def test_inner_kernels_are_those_of_convolutions_after_the_first():
    found = inner_kernels({name: array.ndim for name, array in float64_weights().items()})
    assert found == {"conv2.weight", "conv3.weight"}


@pytest.mark.fast
@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (5, 5)])
def test_reference_moves_singular_values_alone_towards_1(shape):
    matrix = np.random.default_rng(1).standard_normal(shape)
    found = orthogonal_step(matrix)
    np.testing.assert_allclose(found, by_singular_values(matrix), atol=1e-12)
    assert np.linalg.svd(found, compute_uv=False) == pytest.approx(np.ones(min(shape)), abs=0.35)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fused", "nesterov"),
    [
        pytest.param(True, True, marks=pytest.mark.fast, id="fused-nesterov"),
        pytest.param(False, False, marks=pytest.mark.fast, id="unfused-classical"),
        pytest.param(True, False, marks=pytest.mark.slow, id="fused-classical"),
        pytest.param(False, True, marks=pytest.mark.slow, id="unfused-nesterov"),
    ],
)
def test_muon_follows_the_recipes_formula(framework, fused, nesterov):
    recipe = replace(MUON, fused_update=fused, nesterov=nesterov)
    weights, (images, labels) = float64_weights(), batch()
    trainer = framework.make_trainer(SPEC, recipe, weights, "cpu")
    buffers = {name: np.zeros_like(array) for name, array in weights.items()}
    for rate in RATES:
        _, gradients = trainer.gradients(images, labels)
        trainer.train_step(images, labels, rate)
        for name, w in weights.items():
            inner = name in ("conv2.weight", "conv3.weight")
            g = gradients[name] + (0 if inner else 0.125 * w)
            buffers[name] = 0.875 * buffers[name] + g
            step = g + 0.875 * buffers[name] if nesterov else buffers[name]
            if inner:
                rows, columns = len(step), step[0].size
                step = by_singular_values(step.reshape(rows, columns)).reshape(step.shape)
                step = step * 0.5 * math.sqrt(max(1, rows / columns))
            weights[name] = w - rate * step
    for name, array in trainer.weights().items():
        bound = tolerance("update", "float64")
        np.testing.assert_allclose(array, weights[name], rtol=0, atol=bound, err_msg=name)
    kept = trainer.state()
    np.testing.assert_allclose(
        kept["optimizer.conv2.weight.momentum"], buffers["conv2.weight"], atol=1e-12
    )


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_muon_lowers_the_loss_in_every_precision(framework, precision):
    recipe = replace(MUON, precision=precision, weight_decay=0.0)
    trainer = framework.make_trainer(SPEC, recipe, initial_weights(SPEC, recipe), "cpu")
    handles = [trainer.train_step(*batch(), 0.06) for _ in range(8)]
    losses = [value.loss for value in trainer.read(handles)]
    assert losses[-1] < losses[0] * 0.8


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.tensorflow
def test_both_frameworks_and_numpy_agree_on_every_update():
    data = DataConfig(dataset="synthetic", train_images=60, test_images=20, image_size=8)
    train = load_dataset(data).train
    recipe = replace(parity_recipe(replace(MUON, global_batch_size=8), SPEC), precision="float64")
    case = ParityCase(spec=SPEC, recipe=recipe, batches=draw_batches(train, recipe, 4))
    done = train_in_step([LocalSide(n, train) for n in ("torch", "tensorflow")], case, judge=True)
    bound = tolerance("weights' change", "float64")
    assert max(done.faults.values()) <= bound
    assert max(far for step in done.updates.values() for far in step.values()) <= bound
    assert max(abs(a - b) for a, b in zip(*done.series.losses.values(), strict=True)) <= 1e-12


@pytest.mark.fast
def test_muon_refuses_a_buffer_with_the_rate_in_it():
    with pytest.raises(RecipeError, match="momentum_formula=keras puts the learning rate into"):
        replace(MUON, momentum_formula="keras")
