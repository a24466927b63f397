"""Whole training runs, each in a worker process of its own: seconds, and images/s beside them."""

import pytest
from rich.console import Console

from alexnet_impl.data import DataConfig, settle
from alexnet_impl.observers import LineObserver
from alexnet_impl.recipe import Recipe, get_recipe
from alexnet_impl.results import RunConfig
from alexnet_impl.workers import train_in_worker

NARROW = Recipe(initializer="he", last_layer_std=0.01, epochs=2, global_batch_size=64)
SYNTHETIC = DataConfig(dataset="synthetic", train_images=1000, test_images=100)


def measure(benchmark, config, folder, rounds):
    """Time whole runs, start of the process included, and keep what they measured themselves."""
    results = []

    def one_run():
        path = folder / f"run{len(results)}"
        results.append(train_in_worker(config, path, LineObserver(Console(quiet=True))))

    benchmark.pedantic(one_run, rounds=rounds, iterations=1)
    best = max(results, key=lambda result: result.timing.images_per_second)
    benchmark.extra_info |= {
        "images_per_second": best.timing.images_per_second,
        "first_step_time_s": best.timing.first_step_time_s,
        "training_time_s": best.timing.training_time_s,
        "evaluation_time_s": best.timing.evaluation_time_s,
        "peak_memory_bytes": max(result.peak_memory_bytes for result in results),
        "test_top1_accuracy": best.test_top1_accuracy,
    }


@pytest.mark.slow
@pytest.mark.benchmark(group="training run: cifar at width 1/8, 1,000 synthetic images, CPU")
def test_narrow_training_run(benchmark, framework_name, tmp_path):
    config = RunConfig(
        framework=framework_name,
        variant="cifar",
        width=0.125,
        recipe=NARROW,
        data=SYNTHETIC,
        device="cpu",
    )
    measure(benchmark, config, tmp_path, rounds=3)


@pytest.mark.gpu
@pytest.mark.benchmark(group="training run: speedrun on CIFAR-10, GPU")
def test_full_training_run(benchmark, framework_name, request, tmp_path):
    found = request.config.getoption("--data-dir")
    data = DataConfig(data_dir=found) if found else DataConfig(dataset="cifar10")
    config = RunConfig(
        framework=framework_name,
        variant="cifar",
        width=1.0,
        recipe=get_recipe("speedrun"),
        data=settle(data),
        device="gpu",
    )
    measure(benchmark, config, tmp_path, rounds=1)
