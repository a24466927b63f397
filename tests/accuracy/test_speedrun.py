"""Long trainings on CIFAR-10 (`pytest -m accuracy --data-dir PATH`).

The test's name has the minutes that both trainings should take on a GPU.
"""

from dataclasses import replace

import pytest
from rich.console import Console
from support.agreement import agree
from support.starting import train_in_worker

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import settle
from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.recipe.named import get_recipe
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.stats.accuracy import top1_accuracy
from alexnet_impl.training.observers import make_observer

pytestmark = [pytest.mark.accuracy, pytest.mark.torch, pytest.mark.tensorflow]

CLAIM = 0.8076
"""R3-tf, after 20 epochs: the best accuracy from scratch in the reports."""

MINUTES = 1
"""Of one training on a GPU: 2e14 floating point operations at 5e12 a second."""


def accuracy_of(framework, data_dir, folder, seed):
    """Of one run, with its interval."""
    config = RunConfig(
        framework=framework,
        variant="cifar",
        width=1.0,
        recipe=replace(get_recipe("speedrun"), seed=seed, precision="bfloat16"),
        data=settle(DataConfig(data_dir=data_dir)),
    )
    with make_observer(Console()) as observer:
        train_in_worker(config, folder, observer)
    predictions = RunFolder.open(folder).read_predictions()
    return top1_accuracy(predictions.predicted, predictions.labels)


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, id=f"seed{seed}-{2 * MINUTES}min") for seed in (0, 1)]
)
def test_speedrun_beats_the_best_published_accuracy_in_three_epochs(
    data_dir, tmp_path, seed, refuse_cpu
):
    for name in FRAMEWORKS:
        refuse_cpu("speedrun", name, MINUTES)
    assert get_recipe("speedrun").epochs <= 3
    found = [accuracy_of(name, data_dir, tmp_path / name, seed) for name in FRAMEWORKS]
    for name, accuracy in zip(FRAMEWORKS, found, strict=True):
        assert accuracy.low > CLAIM, f"{name}: {accuracy} is not above the published {CLAIM:.2%}"
    assert agree(*found)
