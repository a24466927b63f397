"""Training and inference: framework x variant x batch size x precision x layout x compile mode."""

import pytest
from cases import make_case

CPU = [
    ("training", "cifar", {"global_batch_size": 64}),
    ("training", "torchvision", {"width": 0.25, "global_batch_size": 32}),
    ("inference", "cifar", {"global_batch_size": 64}),
    ("training", "cifar", {"width": 0.25}),
    ("training", "cifar", {"width": 0.25, "compile_mode": "compiled"}),
]
GPU = [
    (workload, variant, {"global_batch_size": batch_size, "precision": precision})
    for workload in ("training", "inference")
    for variant, sizes in (("cifar", (128, 1024, 8192)), ("torchvision", (128, 512, 2048)))
    for batch_size in sizes
    for precision in ("float32", "bfloat16", "float16")
] + [("training", "cifar", {"compile_mode": mode}) for mode in ("eager", "compiled")]
NARROW = [
    pytest.param({"width": 0.25, "device": "cpu"}, marks=pytest.mark.slow, id="cpu"),
    pytest.param({"width": 1.0, "device": "gpu"}, marks=pytest.mark.gpu, id="gpu"),
]
"""Narrow on a CPU, whole on a GPU."""


def on(device, mark, cases):
    """The cases on a device, named by what they are."""
    params = []
    for workload, variant, rest in cases:
        fields = [f"{key}={value}" for key, value in rest.items()]
        name = "-".join([workload, variant, *fields, device])
        values = (workload, variant, rest | {"device": device})
        params.append(pytest.param(*values, marks=mark, id=name))
    return params


@pytest.mark.parametrize(
    ("workload", "variant", "rest"),
    [*on("cpu", pytest.mark.slow, CPU), *on("gpu", pytest.mark.gpu, GPU)],
)
def test_throughput(timed, framework_name, workload, variant, rest):
    timed(workload, framework_name, variant, **rest)


@pytest.mark.torch
@pytest.mark.tensorflow
@pytest.mark.parametrize("place", NARROW)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_torch_against_tensorflow(paired, precision, place):
    """In turns, after the gate."""
    first, second = (
        make_case("training", framework, "cifar", precision=precision, **place)
        for framework in ("torch", "tensorflow")
    )
    paired(first, second)


@pytest.mark.parametrize("place", NARROW)
def test_throughput_of_many_steps_a_call(timed, framework_name, place):
    timed("training", framework_name, "cifar", steps_per_call=8, device_data=True, **place)


@pytest.mark.torch
@pytest.mark.parametrize("place", NARROW)
def test_throughput_with_channels_first(timed, place):
    timed("training", "torch", "cifar", memory_layout="channels-first", **place)


@pytest.mark.parametrize("place", NARROW)
def test_throughput_of_the_tutorials_loop(timed, framework_name, place):
    if (framework_name, place["device"]) == ("tensorflow", "cpu"):
        pytest.skip(
            "a fit() must last seconds for its own cost not to count, 50 s in all on a CPU: "
            "alexnet bench tensorflow tensorflow,workload=tutorial-loop"
        )
    timed("tutorial-loop", framework_name, "cifar", **place)
