"""A device gives the CPU's figures. The CPU stands in for the GPU where there is none."""

import os
import subprocess
import sys

import numpy as np
import pytest
from support.comparing import ALL_LAYERS

from alexnet_impl.network.variants import build_spec
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights.initializers import initial_weights

SPEC = {
    "cpu": ALL_LAYERS,
    "gpu": build_spec("krizhevsky2012", width=1 / 16, input_size=67),
}
"""The layers of all variants: small ones where the CPU is only compared with itself."""
RECIPE = Recipe(initializer="he", last_layer_std=0.01, learning_rate=0.01, compile_mode="eager")
CPU, GPU, SLOW = pytest.mark.fast, pytest.mark.gpu, pytest.mark.slow
DEVICES = [pytest.param("cpu", marks=CPU), pytest.param("gpu", marks=GPU)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "precision"),
    [
        *(pytest.param("gpu", name, marks=GPU) for name in ("float32", "bfloat16", "float16")),
        pytest.param("cpu", "float32", marks=CPU),
        *(pytest.param("cpu", name, marks=SLOW) for name in ("bfloat16", "float16")),
    ],
)
def test_training_on_a_device_gives_the_cpus_losses(framework, device, precision):
    recipe = Recipe(**RECIPE.to_dict() | {"precision": precision})
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
    losses = {}
    for place in ("cpu", device):
        weights = initial_weights(SPEC[device], recipe)
        trainer = framework.make_trainer(SPEC[device], recipe, weights, place)
        trainer.synchronize()
        handle = trainer.train_step(images, np.arange(16) % 10, 0.0)
        losses[place] = [value.loss for value in trainer.read([handle])]
        memory = trainer.peak_memory_bytes()
        assert (memory is None) if place == "cpu" else (memory > 0)
    # Dropout draws other masks on another device; at a last layer of 0.01 they hardly matter.
    bound = max(tolerance("first loss", precision), 0.05 if device == "gpu" else 0.0)
    np.testing.assert_allclose(losses[device], losses["cpu"], rtol=bound)


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_state_of_a_device_goes_on_bit_for_bit(framework, device):
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(16) % 10
    first = framework.make_trainer(
        SPEC[device], RECIPE, initial_weights(SPEC[device], RECIPE), device
    )
    first.train_step(images, labels, 0.01)
    weights, state = first.weights(), first.state()
    second = framework.make_trainer(
        SPEC[device], RECIPE, initial_weights(SPEC[device], RECIPE), device
    )
    second.restore(weights, state)
    for name, array in second.state().items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)
    assert all(second.weights()[name].tobytes() == weights[name].tobytes() for name in weights)


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.skipif(sys.platform != "linux", reason="PyTorch's OpenMP is GNU's on Linux only")
def test_openmp_is_loaded_with_threads_that_sleep_after_a_short_spin():
    """Threads that spin hold the cores that other threads need (docs/benchmarks.md)."""
    chosen = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    unset = {name: os.environ[name] for name in os.environ if name not in chosen}
    done = subprocess.run(
        [sys.executable, "-c", "import alexnet_impl.frameworks.torch"],
        env=unset | {"OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "GOMP_SPINCOUNT = '20000'" in done.stderr
