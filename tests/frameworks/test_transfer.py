"""Training from given weights: frozen layers, rates by layer, phases, cached features."""

from dataclasses import replace

import numpy as np
import pytest
from support.comparing import TINY
from support.fake_framework import RecordingObserver
from support.starting import resume_run, start_run

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.errors import RecipeError, RunError, WeightsError
from alexnet_impl.network.spec import Conv
from alexnet_impl.network.variants import build_spec
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.weights.initializers import initial_weights
from alexnet_impl.weights.metadata import WeightsInfo, save_weights

WIDTH = 0.0625
SPEC = build_spec("cifar", width=WIDTH)
HE = Recipe(initializer="he", learning_rate=0.05, global_batch_size=16)
SMALL = replace(
    TINY,
    layers=(*TINY.layers[:3], Conv(name="conv2", out_channels=4, kernel_size=1), *TINY.layers[3:]),
)
EAGER = replace(HE, compile_mode="eager")
DATA = DataConfig(dataset="synthetic", train_images=64, test_images=32)
OPTIMIZERS = {
    "sgd": {},
    "sgd, unfused": {"fused_update": False},
    "sgd, rate inside": {"momentum_formula": "keras"},
    "sgdw": {"optimizer": "sgdw", "weight_decay": 0.1},
    "adam": {"optimizer": "adam", "learning_rate": 1e-3},
    "adam, epsilon of keras": {"optimizer": "adam", "epsilon_formula": "keras"},
    "muon": {"optimizer": "muon"},
}
OPTIMIZER_CHANGES = [
    pytest.param(
        changes,
        id=name,
        marks=pytest.mark.fast if name in ("sgd", "muon") else pytest.mark.slow,
    )
    for name, changes in OPTIMIZERS.items()
]


def make_trainer(framework, recipe):
    return framework.make_trainer(SMALL, recipe, initial_weights(SMALL, recipe), "cpu")


def batch():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (16, 8, 8, 3), np.uint8), rng.integers(0, 10, 16)


def moved(framework, recipe, steps=2):
    """How far each weight moves."""
    trainer = make_trainer(framework, recipe)
    before = trainer.weights()
    handles = [trainer.train_step(*batch(), recipe.learning_rate) for _ in range(steps)]
    trainer.read(handles)
    after = trainer.weights()
    return {name: after[name] - before[name] for name in before}


@pytest.mark.parametrize("changes", OPTIMIZER_CHANGES)
def test_frozen_layers_do_not_move_and_the_others_do(framework, changes):
    recipe = replace(EAGER, trainable="conv2,fc2", clip_norm=1.0, **changes)
    found = moved(framework, recipe, steps=1)
    for name, difference in found.items():
        learns = name.startswith(("conv2", "fc2"))
        assert bool(np.abs(difference).max() > 0) == learns, name


@pytest.mark.slow
@pytest.mark.parametrize("changes", OPTIMIZER_CHANGES)
def test_a_factor_of_every_layer_is_another_learning_rate(framework, changes):
    """To the bit: the factor is a power of two."""
    recipe = replace(EAGER, **changes)
    names = [layer.name for layer in SMALL.layers if layer.name.startswith(("conv", "fc"))]
    factors = tuple(f"{name}=0.25" for name in names)
    trainers = [
        make_trainer(framework, replace(recipe, rate_factors=factors)),
        make_trainer(framework, recipe),
    ]
    for trainer, rate in zip(
        trainers, (recipe.learning_rate, recipe.learning_rate / 4), strict=True
    ):
        trainer.read([trainer.train_step(*batch(), rate) for _ in range(2)])
    found, expected = (trainer.weights() for trainer in trainers)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.slow
def test_one_layers_factor_leaves_the_others_alone(framework):
    one = moved(framework, replace(EAGER, rate_factors=("fc2=0.5",)), steps=1)
    plain = moved(framework, EAGER, steps=1)
    for name, array in plain.items():
        factor = 0.5 if name.startswith("fc2") else 1.0
        np.testing.assert_allclose(one[name], factor * array, rtol=1e-3, atol=1e-7, err_msg=name)


@pytest.mark.slow
def test_frozen_layers_have_no_slots(framework):
    trainer = make_trainer(framework, replace(HE, trainable="head"))
    trainer.read([trainer.train_step(*batch(), 0.01)])
    slots = {name.split(".")[1] for name in trainer.state() if name.endswith("momentum")}
    assert slots == {"fc2"}


@pytest.fixture
def given(tmp_path):
    """A file of weights."""
    path = tmp_path / "given.safetensors"
    info = WeightsInfo(
        variant="cifar", num_classes=10, input_size=32, width=WIDTH, input_scaling="symmetric"
    )
    save_weights(path, initial_weights(SPEC, replace(HE, seed=9)), info)
    return path


def config_of(framework_name, given, recipe, **changes):
    return RunConfig(
        framework=framework_name,
        variant="cifar",
        width=WIDTH,
        recipe=recipe,
        data=DATA,
        device="cpu",
        weights=str(given),
        **changes,
    )


def train(folder, config, observer=None):
    dataset = load_dataset(config.data)
    result = start_run(folder, config, dataset, observer or RecordingObserver())
    assert result.status == "finished"
    return RunFolder.open(folder)


CUTS = ("head", "conv5,fc1,fc2,fc3")


@pytest.mark.slow
@pytest.mark.parametrize("trainable", CUTS)
def test_kept_features_train_the_same(framework_name, given, tmp_path, trainable):
    recipe = replace(HE, trainable=trainable, epochs=3)
    runs = [
        train(
            tmp_path / str(cached), config_of(framework_name, given, recipe, cache_features=cached)
        )
        for cached in (False, True)
    ]
    plain, cached = runs
    np.testing.assert_allclose(cached.history.step_loss, plain.history.step_loss, rtol=1e-5)
    expected = plain.read_weights()
    for name, array in cached.read_weights().items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-4, atol=1e-6, err_msg=name)
    predicted = [run.read_predictions().probabilities for run in runs]
    np.testing.assert_allclose(*predicted, atol=1e-5)
    assert cached.result.batches_sha256 == plain.result.batches_sha256


@pytest.mark.slow
def test_kept_features_are_kept(framework_name, given, tmp_path, monkeypatch):
    monkeypatch.setenv("ALEXNET_CACHE_DIR", str(tmp_path / "cache"))  # other tests fill their own
    recipe = replace(HE, trainable="head", epochs=1)
    config = config_of(framework_name, given, recipe, cache_features=True)
    observer = RecordingObserver()
    first = train(tmp_path / "first", config, observer)
    assert observer.prepared_images == {"Features after relu7": (64, 32)}
    monkeypatch.setattr(
        "alexnet_impl.training.features._compute", None
    )  # would fail if it were called
    second = train(tmp_path / "second", replace(config, recipe=replace(recipe, epochs=2)))
    assert second.history.step_loss[0] == first.history.step_loss[0]


@pytest.mark.fast
@pytest.mark.parametrize("changes", [{"flip": True}, {"crop_padding": 2}, {"device_data": True}])
def test_features_of_images_that_change_are_not_kept(framework_name, given, changes):
    with pytest.raises(RunError, match="exclude each other"):
        config_of(
            framework_name, given, replace(HE, trainable="head", **changes), cache_features=True
        )


@pytest.mark.fast
def test_no_features_are_kept_where_all_layers_learn(framework_name, given, tmp_path):
    with pytest.raises(RecipeError, match="no frozen front layers"):
        train(tmp_path / "run", config_of(framework_name, given, HE, cache_features=True))
    assert not (tmp_path / "run").exists()


PHASES = ("epochs=2,trainable=head", "epochs=2,learning_rate=0.01")


@pytest.mark.slow
def test_phases_train_one_after_the_other(framework_name, given, tmp_path):
    """Phases train like two runs, the second from the weights of the first."""
    whole = train(tmp_path / "whole", config_of(framework_name, given, replace(HE, phases=PHASES)))
    head = replace(HE, epochs=2, trainable="head")
    first = train(tmp_path / "first", config_of(framework_name, given, head))
    assert whole.history.step_loss[:8] == first.history.step_loss
    assert whole.history.step_learning_rate == [np.float32(0.05)] * 8 + [np.float32(0.01)] * 8
    before, after = first.read_weights(), whole.read_weights()
    assert np.abs(after["conv1.weight"] - before["conv1.weight"]).max() > 0
    unmoved = initial_weights(SPEC, replace(HE, seed=9))
    np.testing.assert_array_equal(before["conv1.weight"], unmoved["conv1.weight"])


def interrupts(after):
    """An observer that raises KeyboardInterrupt at the end of an epoch."""

    def stop(record):
        if record.epoch == after:
            raise KeyboardInterrupt

    observer = RecordingObserver()
    observer.on.epoch_ended = stop
    return observer


@pytest.mark.slow
def test_an_interrupted_run_of_phases_goes_on_to_the_same_end(framework_name, given, tmp_path):
    """Stopped within a phase, and where the next begins."""
    config = config_of(framework_name, given, replace(HE, phases=PHASES))
    whole = train(tmp_path / "whole", config)
    dataset, expected = load_dataset(config.data), whole.read_weights()
    for after in (2, 3):
        with pytest.raises(KeyboardInterrupt):
            start_run(tmp_path / f"cut{after}", config, dataset, interrupts(after))
        folder = RunFolder.open(tmp_path / f"cut{after}")
        resume_run(folder, dataset, RecordingObserver())
        assert folder.history.step_loss == whole.history.step_loss
        for name, array in folder.read_weights().items():
            np.testing.assert_array_equal(array, expected[name], err_msg=name)


@pytest.mark.slow
def test_a_run_with_kept_features_is_resumed(framework_name, given, tmp_path):
    recipe = replace(HE, trainable="head", epochs=2)
    config = config_of(framework_name, given, recipe, cache_features=True)
    whole, dataset = train(tmp_path / "whole", config), load_dataset(config.data)
    with pytest.raises(KeyboardInterrupt):
        start_run(tmp_path / "cut", config, dataset, interrupts(2))
    folder = RunFolder.open(tmp_path / "cut")
    resume_run(folder, dataset, RecordingObserver())
    assert folder.history.step_loss == whole.history.step_loss


@pytest.mark.fast
def test_weights_of_other_values_stop_before_anything_is_written(framework_name, given, tmp_path):
    config = config_of(framework_name, given, replace(HE, input_scaling="imagenet"))
    with pytest.raises(RecipeError, match="trained on symmetric: values from -1 to 1"):
        train(tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


@pytest.mark.fast
def test_a_lost_file_stops_before_anything_is_written(framework_name, given, tmp_path):
    given.unlink()
    with pytest.raises(WeightsError, match="no such file"):
        train(tmp_path / "run", config_of(framework_name, given, HE))
    assert not (tmp_path / "run").exists()
