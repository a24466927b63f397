"""Every scratch experiment, narrow and on a few hundred real images, in both frameworks."""

import math
from dataclasses import replace

import numpy as np
import pytest
from support.experiment_runs import base_config
from support.starting import images_of

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import settle
from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.reproduction.catalogue.budget import Budget
from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS
from alexnet_impl.reproduction.runs.requests import make_request
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.stats.accuracy import wilson_accuracy
from alexnet_impl.training.events import ignore_events
from alexnet_impl.training.prepare import prepare_run

pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.tensorflow]

SMALL = Budget(name="full", most_epochs=1)
WIDTH = 0.0625
START = 0.3
"""By so much a loss may start above or below ln(num_classes)."""
FIRST_STEPS = 2
"""Before flips at the last bit add up; the smallest experiment has two steps an epoch."""
NAMES = tuple(
    name
    for name, experiment in EXPERIMENTS.items()
    if experiment.weights is None and not experiment.in_memory
)


LONGER = 12
"""Epochs, or fewer if the report has fewer."""
LEARNING = ("R3-tf", "R4-torch", "R4-tf")
"""Some that leave the loss of a guess in so few epochs. SGD at 0.001 stays there for longer with
PyTorch's initial weights and with inputs of 224 pixels, and R0-tf learns nothing in the report."""
STANDARD_ERRORS = 3


@pytest.fixture(scope="session")
def train(few_images, series, tmp_path_factory):
    """The run of an experiment in a framework, trained once."""
    root = tmp_path_factory.mktemp("small")
    data = settle(DataConfig(data_dir=few_images))

    def train(name, framework, epochs=SMALL.most_epochs):
        path = root / f"{name}-{epochs}" / framework
        if not path.exists():
            base = base_config(width=WIDTH, data=data)
            budget = replace(SMALL, most_epochs=epochs)
            request = make_request(EXPERIMENTS[name], budget, base, framework=framework)
            # The same dropout in both: else they could not be told apart from two draws.
            recipe = replace(request.config.recipe, dropout_masks="shared")
            path.parent.mkdir(exist_ok=True)
            config = replace(request.config, recipe=recipe)
            run = prepare_run(config, images_of(config))
            series[framework].train(run, path, ignore_events)
        return RunFolder.open(path)

    return train


@pytest.mark.parametrize("name", NAMES)
def test_experiment_runs_as_the_catalogue_says(name, train):
    experiment = EXPERIMENTS[name]
    run = train(name, experiment.framework)
    assert run.finished_result().test_top1_accuracy is not None
    assert (run.config.variant, run.config.framework) == (experiment.variant, experiment.framework)
    catalogue, trained = experiment.recipe.to_dict(), run.config.recipe.to_dict()
    differing = {field for field in catalogue if catalogue[field] != trained[field]}
    assert differing <= {"epochs", "shuffle_buffer", "dropout_masks"}
    assert abs(run.history.step_loss[0] - math.log(10)) < START


@pytest.mark.parametrize("name", LEARNING)
def test_experiment_learns(name, train):
    """Its loss falls below that of a guess; with Adam it also names images better than chance."""
    run = train(name, EXPERIMENTS[name].framework, LONGER)
    last = run.history.epochs[-1]
    losses = run.history.step_loss[-(last.step // last.epoch) :]
    noise = STANDARD_ERRORS * np.std(losses, ddof=1) / math.sqrt(len(losses))
    assert np.mean(losses) + noise < math.log(10), losses
    if run.config.recipe.optimizer == "adam":
        num_images = run.dataset.num_train_images
        right = round(last.train_top1_accuracy * num_images)
        accuracy = wilson_accuracy(right, num_images)
        assert accuracy.low > 1 / 10, accuracy


@pytest.mark.parametrize("name", NAMES)
def test_frameworks_start_alike_and_take_the_same_first_steps(name, train):
    runs = [train(name, framework) for framework in FRAMEWORKS]
    assert runs[0].initial_weights_sha256 == runs[1].initial_weights_sha256
    results = [run.finished_result() for run in runs]
    assert results[0].batches_sha256 == results[1].batches_sha256
    for step in range(FIRST_STEPS):
        first, second = (run.history.step_loss[step] for run in runs)
        assert abs(first - second) <= tolerance("free step 2", "float32") * abs(first)
