"""Every experiment that starts from weights, on a file of the published layout: a few steps each.

AlexNets are narrow, and read images of the report's size; backbones are whole, and read small ones.
"""

import math
from dataclasses import replace

import pytest
from support.experiment_runs import base_config
from support.published_files import write_published
from support.starting import images_of

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import settle
from alexnet_impl.frameworks import FRAMEWORKS, get_framework
from alexnet_impl.network.variants import build_spec
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.processes.conversion import prepare_job
from alexnet_impl.recipe.phases import num_epochs
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.reproduction.catalogue.budget import Budget
from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS
from alexnet_impl.reproduction.runs.requests import make_request
from alexnet_impl.reproduction.runs.runner import prepare_request
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.training.events import ignore_events
from alexnet_impl.training.initial_weights import first_weights
from alexnet_impl.weights.canonical import weights_sha256
from alexnet_impl.weights.initializers import initial_weights
from alexnet_impl.weights.metadata import load_weights

pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.tensorflow]

WIDTH = 0.0625
SMALL_INPUT = 32
"""Of backbones, in pixels."""
FEW = Budget(name="full", train_images=40, test_images=20, most_epochs=1)
CONVERTED = Budget(name="full", train_images=150, test_images=20, most_epochs=2)
"""Of two phases; a tenth is held back, and what is no whole batch of 128 is dropped."""
NAMES = tuple(
    name
    for name, experiment in EXPERIMENTS.items()
    if experiment.weights is not None and not experiment.in_memory
)
ALIKE = ("R2-tf-converted", "R3-torch-pretrained", "R4-torch-pretrained")
"""One of each kind: phases, all layers, and features that are kept."""
CUT = {"epochs", "phases", "shuffle_buffer", "dropout_masks", "input_size"}
"""Fields of a recipe in which a small run may differ."""
EVERY = {f"conv{number}" for number in range(1, 6)} | {f"fc{number}" for number in range(1, 4)}
LEARNS = {
    "R1-torch-pretrained": EVERY,
    "R1-tf-resnet50": {"backbone", "fc1", "fc2", "fc3"},
    "R2-tf-converted": EVERY,
    "R2-tf-converted-permuted": EVERY,
    "R2-torch-pretrained": EVERY,
    "R3-torch-pretrained": EVERY,
    "R3-tf-vgg16": {"fc1", "fc2", "fc3"},
    "R3-tf-vgg16-twice": {"fc1", "fc2", "fc3"},
    "R4-torch-pretrained": {"fc3"},
    "R4-tf-vgg16-cached": {"fc1", "fc2", "fc3"},
    "R4-tf-mobilenetv2": {"fc1"},
}


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """The file of a variant, of the layout in which its weights are published."""
    folder = tmp_path_factory.mktemp("published")
    alexnet = folder / "alexnet.pth"
    spec = build_spec("torchvision", num_classes=1000, width=WIDTH)
    weights = initial_weights(spec, Recipe(seed=1))
    get_framework("torch").write_checkpoint(alexnet, spec, weights)
    found = {"torchvision": alexnet}

    def file_of(variant):
        if variant not in found:
            found[variant], _ = write_published("tensorflow", variant, folder)
        return found[variant]

    return file_of


@pytest.fixture(scope="session")
def train(few_images, series, published, tmp_path_factory):
    """The run of an experiment in a framework, trained once."""
    root = tmp_path_factory.mktemp("small-pretrained")
    data = settle(DataConfig(data_dir=few_images))

    def train(name, framework):
        path = root / name / framework
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            run = _prepared(name, framework, data, published)
            series[framework].train(run, path, ignore_events)
        return RunFolder.open(path)

    return train


def _prepared(name, framework, data, published):
    experiment = EXPERIMENTS[name]
    narrow = experiment.variant == "torchvision"
    base = base_config(width=WIDTH, data=data)
    budget = CONVERTED if experiment.recipe.phases else FEW
    copy = published(experiment.variant)
    request = make_request(experiment, budget, base, framework=framework, copy=copy)
    # The same dropout in both: else they could not be told apart from two draws.
    recipe = replace(request.config.recipe, dropout_masks="shared")
    if not narrow:
        recipe = replace(recipe, input_size=SMALL_INPUT)
    request = replace(request, config=replace(request.config, recipe=recipe))
    return prepare_request(request, images_of(request.config), {})


@pytest.mark.parametrize("name", NAMES)
def test_experiment_begins_with_its_weights_and_trains_what_it_says(name, train):
    experiment = EXPERIMENTS[name]
    run = train(name, experiment.framework)
    config = run.config
    assert run.finished_result().test_top1_accuracy is not None
    assert (config.variant, config.framework) == (experiment.variant, experiment.framework)
    assert config.cache_features == experiment.cache_features
    catalogue, trained = experiment.recipe.to_dict(), config.recipe.to_dict()
    assert {field for field in catalogue if catalogue[field] != trained[field]} <= CUT
    assert len(run.history.epochs) == num_epochs(config.recipe)
    assert all(math.isfinite(loss) for loss in run.history.step_loss)
    before = first_weights(prepare_job(config, images_of(config)))
    assert weights_sha256(before) == run.initial_weights_sha256
    after, _ = load_weights(run.path / "weights.safetensors")
    changed = {key.partition(".")[0] for key in before if (before[key] != after[key]).any()}
    assert changed == LEARNS[name]


def test_transposes_alone_change_what_is_trained_from_the_first_step_on(train):
    wrong, right = (train(f"R2-tf-converted{end}", "tensorflow") for end in ("", "-permuted"))
    assert wrong.finished_result().batches_sha256 == right.finished_result().batches_sha256
    weights = [
        first_weights(prepare_job(run.config, images_of(run.config))) for run in (wrong, right)
    ]
    differing = {key for key in weights[0] if (weights[0][key] != weights[1][key]).any()}
    assert differing == {"fc1.weight"}
    assert wrong.history.step_loss[0] != right.history.step_loss[0]


def test_what_is_fed_decides_the_features_of_vgg16(train):
    once, twice = (train(f"R3-tf-vgg16{end}", "tensorflow") for end in ("", "-twice"))
    assert once.initial_weights_sha256 == twice.initial_weights_sha256
    assert once.history.step_loss[0] != twice.history.step_loss[0]


@pytest.mark.parametrize("name", ALIKE)
def test_frameworks_begin_alike_and_take_the_same_first_step(name, train):
    first, second = (train(name, framework) for framework in FRAMEWORKS)
    assert first.initial_weights_sha256 == second.initial_weights_sha256
    assert first.finished_result().batches_sha256 == second.finished_result().batches_sha256
    losses = [run.history.step_loss[0] for run in (first, second)]
    assert abs(losses[0] - losses[1]) <= tolerance("free step 2", "float32") * abs(losses[0])
