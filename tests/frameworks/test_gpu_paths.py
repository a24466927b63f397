"""What only a GPU runs, with stand-ins for the calls that need one."""

import importlib

import numpy as np
import pytest
from support.comparing import TINY

from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights.initializers import initial_weights

pytestmark = pytest.mark.fast


def module_of(framework_name, name):
    return importlib.import_module(f"alexnet_impl.frameworks.{framework_name}.{name}")


def make_trainer(framework, recipe):
    return framework.make_trainer(TINY, recipe, initial_weights(TINY, recipe), "cpu")


def test_peak_memory_counts_from_each_trainer(framework, framework_name, monkeypatch):
    resets = []
    monkeypatch.setattr(module_of(framework_name, "training"), "reset_peak_memory", resets.append)
    for _ in range(2):
        make_trainer(framework, Recipe())
    assert len(resets) == 2


@pytest.mark.torch
def test_pytorch_resets_the_peak_of_a_gpu_alone(monkeypatch):
    import torch

    resets = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", resets.append)
    for name in ("cpu", "cuda"):
        module_of("torch", "device").reset_peak_memory(torch.device(name))
    assert resets == [torch.device("cuda")]


@pytest.mark.torch
def test_pytorch_multiplies_in_float32_and_tries_convolutions(monkeypatch):
    import torch

    from alexnet_impl.frameworks import get_framework

    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    make_trainer(get_framework("torch"), Recipe())
    assert torch.backends.cudnn.benchmark
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.torch
@pytest.mark.parametrize(("fused", "place"), [(True, "meta"), (False, "cpu")])
def test_adam_resumes_with_its_step_where_its_formula_reads_it(fused, place):
    """A value on a device would be waited for in every step."""
    import torch

    from alexnet_impl.frameworks import get_framework

    trainer = make_trainer(get_framework("torch"), Recipe(optimizer="adam", fused_update=fused))
    state = {f"optimizer.fc.weight.{slot}": np.zeros(2, np.float32) for slot in ("first", "second")}
    parameter = torch.nn.Parameter(torch.zeros(2, device="meta"))  # stands for a GPU
    slots = trainer._slots("fc.weight", parameter, state | {"optimizer.step": np.array(3)})  # noqa: SLF001
    assert slots["step"].device.type == place
    assert slots["exp_avg"].device.type == "meta"


@pytest.mark.tensorflow
@pytest.mark.parametrize(("asked", "device"), [("cpu", "/CPU:0"), ("auto", "/GPU:0")])
def test_tensorflow_reserves_no_gpu_whatever_it_computes_on(monkeypatch, asked, device):
    import tensorflow as tf

    grown = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: ["GPU 0", "GPU 1"])
    monkeypatch.setattr(
        tf.config.experimental,
        "set_memory_growth",
        lambda gpu, *, enable: grown.append((gpu, enable)),
    )
    assert module_of("tensorflow", "device").find_device(asked) == device
    assert grown == [("GPU 0", True), ("GPU 1", True)]
