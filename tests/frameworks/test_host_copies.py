"""No timed workload copies from the device to the host: that would wait for it in every call."""

from dataclasses import replace

import pytest
from support.measured import noise_config

from alexnet_impl.measurement.timing import time_calls
from alexnet_impl.measurement.workloads import WORKLOADS, workload_context
from alexnet_impl.recipe.recipe import Recipe

pytestmark = pytest.mark.slow

CONFIG = noise_config(Recipe(global_batch_size=4), variant="cifar-dropout", width=1 / 64)
READS = ("__array__", "__bool__", "__float__", "__index__", "__int__", "numpy")
"""What a tensor of either framework copies to the host for."""
MORE_READS = {"torch": ("cpu", "item", "tolist"), "tensorflow": ()}
ON_DEVICE = [
    name for name, workload in WORKLOADS.items() if workload.gated and workload.unit == "images"
]


class CopyToHostError(Exception):
    """Something has read a tensor."""


def tensor_class(framework_name):
    if framework_name == "torch":
        import torch

        return torch.Tensor
    import tensorflow as tf

    return type(tf.constant(0))


@pytest.fixture
def refuse_copies(framework_name, monkeypatch):
    """Call it, and from then on no tensor can be read."""

    def refuse(*_, **__):
        raise CopyToHostError

    def start():
        for name in (*READS, *MORE_READS[framework_name]):
            monkeypatch.setattr(tensor_class(framework_name), name, refuse)

    return start


def prepared(name, framework, **changes):
    """A workload that was called once, since tracing may read its constants."""
    config = replace(CONFIG, recipe=replace(CONFIG.recipe, **changes))
    workload = WORKLOADS[name].prepare(workload_context(framework, config))
    time_calls(workload, 1)
    return workload


@pytest.mark.parametrize("name", ON_DEVICE)
def test_no_timed_call_copies_to_the_host(name, framework, refuse_copies):
    workload = prepared(name, framework)
    refuse_copies()
    assert time_calls(workload, 2) > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"device_data": True},
        {"steps_per_call": 3},
        {"clip_norm": 1.0},
        {"optimizer": "adam"},
        {"precision": "bfloat16"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_no_training_step_copies_to_the_host(changes, framework, refuse_copies):
    """Float16's may: the scaler of the loss looks whether it is finite."""
    workload = prepared("training", framework, **changes)
    refuse_copies()
    assert time_calls(workload, 2) > 0


def test_a_step_that_copies_to_the_host_is_seen(framework, refuse_copies):
    """The checks above fail on a step that reads its loss."""
    bench = workload_context(framework, CONFIG)
    trainer, batch = bench.trainer(), next(bench.batches())
    handle = trainer.train_step(batch.images, batch.labels, 1e-4)
    refuse_copies()
    for read in (lambda: trainer.read([handle]), lambda: float(handle[0]), handle.numpy):
        with pytest.raises(CopyToHostError):
            read()
