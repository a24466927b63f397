"""Lockstep training in its three forms stays within the tolerances at every step."""

from dataclasses import replace

import numpy as np
import pytest
from support.comparing import TINY_DROPOUT

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.network.variants import build_spec
from alexnet_impl.parity.lockstep import (
    ParityCase,
    divergence,
    draw_batches,
    largest,
    moved_by_one_bit,
    parity_recipe,
    train_freely,
    train_in_step,
)
from alexnet_impl.parity.stages import run_stages, train_beside_controls
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.processes.remote_trainer import LocalSide
from alexnet_impl.recipe.recipe import Recipe

pytestmark = [pytest.mark.torch, pytest.mark.tensorflow]

SGD = Recipe(learning_rate=0.01, global_batch_size=16, weight_decay=2.0**-9)
ADAM = replace(SGD, optimizer="adam", learning_rate=2.0**-10)
VARIANTS = (
    ("cifar", "cifar-dropout", None),
    ("torchvision+no-dropout", "torchvision", 67),
    ("krizhevsky2012+no-dropout", "krizhevsky2012", 67),
)
"""Without and with dropout, and an input size at which a narrow one takes milliseconds a step."""


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(DataConfig(dataset="digits"))


@pytest.fixture(scope="module")
def sides(dataset):
    return [LocalSide(name, dataset.train) for name in ("torch", "tensorflow")]


def make_case(dataset, name, recipe, steps, *, width=1 / 16, input_size=None):
    if name == "tiny":
        spec, recipe = TINY_DROPOUT, replace(recipe, compile_mode="eager")
    else:
        spec = build_spec(name, width=width, input_size=input_size)
    recipe = parity_recipe(recipe, spec)
    batches = draw_batches(dataset.train, recipe, steps)
    return ParityCase(spec=spec, recipe=recipe, batches=batches)


def largest_difference(series):
    losses = np.array(list(series.losses.values()))
    assert np.ptp(losses, axis=1).min() > 0.01, "nothing was learned: the comparison sees nothing"
    return np.abs(losses[0] - losses[1]).max()


SLOW = [
    pytest.param(name, recipe, size, 100, marks=pytest.mark.slow, id=f"{name}-{recipe.optimizer}")
    for order, (plain, dropped, size) in zip((1, -1, 1), VARIANTS, strict=True)
    for name, recipe in zip((plain, dropped), (SGD, ADAM)[::order], strict=True)
]
"""Every variant without and with dropout, of which one with SGD and the other with Adam."""
FEW = [pytest.param("tiny", ADAM, None, 4, marks=pytest.mark.fast, id="tiny-adam")]


@pytest.mark.parametrize(("name", "recipe", "input_size", "steps"), [*FEW, *SLOW])
def test_float64_trains_freely_to_the_same_loss_at_every_step(
    dataset, sides, name, recipe, input_size, steps
):
    case = make_case(dataset, name, recipe, steps, input_size=input_size).at("float64")
    series = train_freely(sides, case, with_controls=False)
    assert largest_difference(series) <= tolerance("lockstep", "float64")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "recipe", "input_size", "steps"), [*FEW, *SLOW])
def test_float32_resynchronised_has_the_same_loss_and_gradients(
    dataset, sides, name, recipe, input_size, steps
):
    case = make_case(dataset, name, recipe, steps, input_size=input_size)
    done = train_in_step(sides, case, look_every=max(1, steps // 10))
    assert largest_difference(done.series) <= tolerance("re-synchronised", "float32")
    gradients = [value for step in done.gradients.values() for value in step.values()]
    assert largest(gradients) <= tolerance("gradients", "float32")
    assert np.median(gradients) <= tolerance("median gradient", "float32")


@pytest.mark.parametrize(("name", "recipe", "input_size", "steps"), SLOW)
def test_float32_diverges_no_more_than_one_framework_from_itself(
    dataset, sides, name, recipe, input_size, steps
):
    case = make_case(dataset, name, recipe, steps, input_size=input_size)
    series = train_beside_controls(sides, case)
    assert (np.array(divergence(*series.losses.values())) <= series.allowed).all()
    assert largest_difference(series) > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "width", "steps"),
    [("bfloat16", 1 / 8, 20), ("float16", 1 / 16, 6)],  # no CPU kernels multiply float16 fast
)
def test_half_precision_passes_all_stages_within_its_own_bounds(
    dataset, sides, precision, width, steps
):
    case = make_case(dataset, "cifar-dropout", SGD, steps, width=width).at(precision)
    results = run_stages(sides, case, dataset.test, lambda _: None)
    assert [check for check in results.checks if not check.holds] == []


@pytest.mark.fast
def test_one_bit_moves_every_weight_by_the_least_there_is():
    weights = {"w": np.array([0.0, 1.0, -2.0, 1e-30], np.float32)}
    moved = moved_by_one_bit(weights, 0, "float32")["w"]
    assert moved.dtype == np.float32
    gaps = np.abs(moved - weights["w"])
    assert (gaps > 0).all()
    assert (gaps <= np.spacing(np.abs(weights["w"]))).all()


@pytest.mark.fast
@pytest.mark.parametrize(("precision", "bits"), [("bfloat16", 8), ("float16", 11)])
def test_half_types_bit_is_not_rounded_away(precision, bits):
    weights = {"w": np.array([0.0, 1.0, -2.0, 2.0**-10], np.float32)}
    moved = moved_by_one_bit(weights, 0, precision)["w"]
    assert moved.dtype == np.float32
    assert np.array_equal(np.abs(moved - weights["w"]), np.abs(weights["w"]) * 2.0**-bits)
