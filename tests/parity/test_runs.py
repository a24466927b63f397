"""Two short runs of one recipe: the same weights and bytes go in, the same losses come out."""

from dataclasses import replace

import numpy as np
import pytest
from support.starting import start_run

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.frameworks import FRAMEWORKS, get_framework
from alexnet_impl.network.variants import build_spec
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.training.events import ignore_events
from alexnet_impl.weights.initializers import initial_weights

pytestmark = [pytest.mark.fast, pytest.mark.torch, pytest.mark.tensorflow]

RECIPE = Recipe(
    initializer="he",
    last_layer_std=0.1,
    learning_rate=2.0**-7,
    nesterov=True,
    schedule="one-cycle",
    warmup=0.25,
    weight_decay=2.0**-9,
    weight_decay_on="kernels",
    label_smoothing=0.125,
    flip=True,
    crop_padding=2,
    eval_flip=True,
    global_batch_size=32,
    validation_fraction=0.1,
)
DATA = DataConfig(dataset="digits", train_images=90, test_images=20)
WIDTH = 1 / 32


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    dataset = load_dataset(DATA, validation_fraction=RECIPE.validation_fraction, seed=RECIPE.seed)
    for name in FRAMEWORKS:
        config = RunConfig(
            framework=name, variant="cifar", width=WIDTH, recipe=RECIPE, data=DATA, device="cpu"
        )
        start_run(root / name, config, dataset, ignore_events)
    return [RunFolder.open(root / name) for name in FRAMEWORKS]


def test_runs_start_from_the_same_weights(folders):
    first, second = folders
    assert first.initial_weights_sha256 == second.initial_weights_sha256
    spec = build_spec("cifar", width=WIDTH)
    read = [
        get_framework(name)
        .make_trainer(spec, RECIPE, initial_weights(spec, RECIPE), "cpu")
        .weights()
        for name in FRAMEWORKS
    ]
    assert all(read[0][name].tobytes() == read[1][name].tobytes() for name in read[0])


def test_runs_are_fed_the_same_bytes(folders):
    first, second = folders
    assert len(first.result.batches_sha256) == 64
    assert first.result.batches_sha256 == second.result.batches_sha256
    assert first.dataset == second.dataset


def test_runs_have_the_same_losses_at_every_step_of_an_epoch(folders):
    losses = [folder.history.step_loss for folder in folders]
    assert len(losses[0]) == 3
    np.testing.assert_allclose(*losses, rtol=tolerance("update", "float32"))
    assert losses[0][0] == pytest.approx(losses[1][0], rel=tolerance("first loss", "float32"))


def test_runs_see_the_same_learning_rates(folders):
    first, second = (folder.history.step_learning_rate for folder in folders)
    assert first == second


def test_runs_predict_the_same_probabilities(folders):
    first, second = (folder.read_predictions().probabilities for folder in folders)
    np.testing.assert_allclose(first, second, atol=tolerance("update", "float32"))


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_ten_steps_in_float64_are_equal_at_every_step(optimizer):
    recipe = replace(RECIPE, optimizer=optimizer, nesterov=optimizer == "sgd", precision="float64")
    spec = build_spec("cifar", width=WIDTH)
    weights = initial_weights(spec, recipe)
    weights = {name: array.astype(np.float64) for name, array in weights.items()}
    train = load_dataset(DATA).train
    images, labels = train.images[:8], train.labels[:8]
    losses = []
    for name in FRAMEWORKS:
        trainer = get_framework(name).make_trainer(spec, recipe, weights, "cpu")
        rates = [2.0**-9] * 5 + [2.0**-11] * 5
        handles = [trainer.train_step(images, labels, rate) for rate in rates]
        losses.append([value.loss for value in trainer.read(handles)])
    assert losses[0][-1] < losses[0][0]
    np.testing.assert_allclose(*losses, rtol=tolerance("update", "float64"))
