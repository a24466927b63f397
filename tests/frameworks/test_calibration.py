"""The kernels that show a device's peak, and the loops of the frameworks' tutorials."""

import importlib
import re

import numpy as np
import pytest

from alexnet_impl.frameworks.timed_call import SMALL_SIZE, matmul_size, peak_precisions
from alexnet_impl.network.variants import build_spec

pytestmark = pytest.mark.fast

SIZE, COPY_BYTES = 64, 2**12


@pytest.fixture
def kernels(framework, framework_name, monkeypatch):
    """Small ones on the CPU, where something in this precision is timed."""
    module = importlib.import_module(f"alexnet_impl.frameworks.{framework_name}.calibration")
    monkeypatch.setattr(module, "SMALL_SIZE", SIZE)
    monkeypatch.setattr(module, "COPY_BYTES", COPY_BYTES)
    return lambda precision: {
        name: make() for name, make in framework.calibration_kernels("cpu", precision).items()
    }


@pytest.mark.parametrize("timed", ["float32", "bfloat16", "float16", "float64"])
def test_every_product_is_computed_in_the_precision_of_its_name(kernels, timed):
    found = kernels(timed)
    copy = found.pop("copy")
    assert (copy.amount, copy.unit) == (2 * COPY_BYTES, "B")
    assert found.keys() == {"matmul float32", "matmul bfloat16", f"matmul {timed}"}
    for name, kernel in found.items():
        assert (kernel.amount, kernel.unit) == (2 * SIZE**3, "FLOP")
        product = kernel.call()
        assert tuple(product.shape) == (SIZE, SIZE)
        assert re.search(rf"\b{name.split()[1]}\b", str(product.dtype))
        larger = kernel.with_size(2 * SIZE)
        assert (larger.amount, larger.call().shape[0]) == (2 * (2 * SIZE) ** 3, 2 * SIZE)


@pytest.mark.parametrize(
    ("device", "flop_s", "size"),
    [("cpu", 1e11, 2048), ("cpu", 1.3e9, 512), ("cpu", 1e6, SMALL_SIZE), ("gpu", 1e15, 8192)],
)
def test_a_product_is_as_large_as_half_a_second_allows(device, flop_s, size):
    assert matmul_size(device, 2 * SMALL_SIZE**3 / flop_s) == size


def test_a_gpu_is_measured_in_float16_whatever_is_timed():
    assert "float16" in peak_precisions("cuda", "float32")
    assert "float16" not in peak_precisions("cpu", "float32")
    assert peak_precisions("cuda", "float16").count("float16") == 1


@pytest.mark.slow
def test_an_epoch_of_the_keras_loop_has_as_many_batches_as_are_asked_for(framework, framework_name):
    """And the loop of PyTorch has calls of one batch, which cost nothing beyond it."""
    images = np.zeros((4, 32, 32, 3), np.uint8)
    labels = np.arange(4)
    spec = build_spec("cifar", width=1 / 32)
    timed_call = framework.tutorial_loop(spec, images, labels, "float32", "cpu")
    assert timed_call.amount == 4
    if framework_name == "torch":
        assert timed_call.with_batches is None
        return
    longer = timed_call.with_batches(3)
    assert (longer.amount, longer.cost_s) == (12, timed_call.cost_s)
    longer.call()
    assert longer.call.func.__self__.optimizer.iterations == 3


@pytest.mark.parametrize("has_it", [True, False])
def test_bfloat16_is_native_where_the_processor_has_it(
    framework, framework_name, monkeypatch, has_it
):
    module = importlib.import_module(f"alexnet_impl.frameworks.{framework_name}.calibration")
    monkeypatch.setattr(module, "SMALL_SIZE", SIZE)
    monkeypatch.setattr(module, "cpu_has_bfloat16", lambda: has_it)
    found = framework.bfloat16_support("cpu")
    assert found.hardware is has_it
    assert found.speed > 0


@pytest.mark.parametrize(
    ("capability", "has_it"), [((7, 5), False), ((8, 0), True), ((9, 0), True)]
)
def test_bfloat16_is_native_on_a_gpu_from_ampere_on(
    framework_name, monkeypatch, capability, has_it
):
    module = importlib.import_module(f"alexnet_impl.frameworks.{framework_name}.calibration")
    device = "/GPU:0"
    if framework_name == "torch":
        device = module.torch.device("cuda")
        monkeypatch.setattr(module.torch.cuda, "get_device_capability", lambda _: capability)
    else:
        details = {"compute_capability": capability}
        monkeypatch.setattr(module.tf.config, "list_physical_devices", lambda _: ["gpu"])
        experimental = module.tf.config.experimental
        monkeypatch.setattr(experimental, "get_device_details", lambda _: details)
    assert module._has_bfloat16(device) is has_it  # noqa: SLF001
