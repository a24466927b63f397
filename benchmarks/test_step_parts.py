"""Parts of a training step: forward pass, gradients, update, and its input."""

import pytest
from cases import make_case

PLACES = [
    pytest.param({"width": 0.25, "device": "cpu"}, marks=pytest.mark.slow, id="cpu"),
    pytest.param({"width": 1.0, "device": "gpu"}, marks=pytest.mark.gpu, id="gpu"),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("workload", ["forward", "backward", "update"])
def test_part_of_a_step(timed, framework_name, workload, place):
    timed(workload, framework_name, "cifar", **place)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("workload", ["transfer", "preprocessing"])
def test_input_on_the_device(timed, framework_name, workload, place):
    """Resized on the device: the variant reads 224 x 224, the images are 32 x 32."""
    timed(workload, framework_name, "torchvision", global_batch_size=32, **place)


@pytest.mark.parametrize("place", PLACES)
def test_share_of_the_input_in_a_step(share_of_input, framework_name, place):
    """Steps whose batches are drawn, flipped and cropped meanwhile, in turns with ready batches.

    What the device itself does to a batch is in both.
    """
    share_of_input(framework_name, "cifar", global_batch_size=128, **place)


@pytest.mark.gpu
def test_share_of_the_input_at_224(share_of_input, framework_name):
    share_of_input(framework_name, "torchvision", global_batch_size=128, device="gpu")


@pytest.mark.gpu
def test_share_of_the_input_on_the_device(share_of_input, framework_name):
    """The same with the dataset on the device."""
    share_of_input(framework_name, "cifar", global_batch_size=128, device_data=True, device="gpu")


@pytest.fixture
def share_of_input(benchmark, paired):
    """Time steps from the pipeline and on ready batches in turns, and keep the difference."""

    def compare_steps(framework_name, variant, **how):
        first, second = (
            make_case(workload, framework_name, variant, flip=True, crop_padding=4, **how)
            for workload in ("training-from-pipeline", "training")
        )
        ratio = paired(first, second).ratio
        benchmark.extra_info |= {
            "input_share": 1 - ratio.ratio,
            "input_share_interval": [1 - ratio.high, 1 - ratio.low],
        }

    return compare_steps


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("workload", ["batching", "augmentation", "decoding"])
def test_input_on_the_host(timed, workload):
    """NumPy alone, in a worker process of PyTorch."""
    timed(workload, "torch", "cifar", width=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("workload", ["building", "conversion"])
def test_model_and_its_weights(timed, framework_name, workload):
    timed(workload, framework_name, "cifar")
