"""Backbones: which layers learn, which weights and statistics stay, and their files."""

import functools
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from support.published_files import write_published
from support.starting import start_weights

from alexnet_impl.errors import WeightsError
from alexnet_impl.frameworks import get_framework
from alexnet_impl.network.spec import trace
from alexnet_impl.network.variants import build_spec
from alexnet_impl.processes.weight_files import Hints, read_network
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.weights.initializers import initial_weights

pytestmark = pytest.mark.slow

RECIPE = Recipe(trainable="head", learning_rate=0.01)
VARIANTS = ("vgg16", "resnet50", "mobilenetv2")
STATISTICS = ("running_mean", "running_var", "moving_mean", "moving_variance")


def small(variant):
    """At 64 pixels, of four classes."""
    return build_spec(variant, input_size=64, num_classes=4, width=0.125)


def make_trainer(framework, spec, recipe):
    return framework.make_trainer(spec, recipe, initial_weights(spec, recipe), "cpu")


def batch(size=4):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (size, 32, 32, 3), np.uint8), np.arange(size) % 4


def changed(before, after):
    return {name for name in before if not np.array_equal(before[name], after[name])}


def step(trainer):
    """What a step at a small rate changes."""
    before = trainer.weights()
    trainer.read([trainer.train_step(*batch(), 1e-4)])
    return changed(before, trainer.weights())


@pytest.fixture(scope="module")
def frozen(framework):
    """The trainer of a variant whose backbone is frozen, made once."""
    return functools.cache(lambda variant: make_trainer(framework, small(variant), RECIPE))


@pytest.fixture(scope="module")
def published(framework_name, tmp_path_factory):
    """A variant's file of the published layout with its backbone's arrays, written once."""
    folder = tmp_path_factory.mktemp("published")
    return functools.cache(lambda variant: write_published(framework_name, variant, folder))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_backbone_yields_the_map_that_the_spec_says(frozen, variant):
    found = frozen(variant).features(batch()[0], "backbone")
    assert found.shape == (4, *trace(small(variant)).layers[0].output_shape)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_frozen_backbone_keeps_its_weights_and_its_statistics(frozen, variant):
    found = step(frozen(variant))
    assert found
    assert not [name for name in found if name.startswith("backbone.")]


def test_a_frozen_backbone_uses_its_statistics_in_training(frozen):
    """Otherwise the loss of a training step would use the batch's own statistics."""
    trainer = frozen("mobilenetv2")
    images, labels = batch()
    loss, _ = trainer.gradients(images, labels)
    logits = trainer.logits(images).astype(np.float64)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -np.log(probabilities[np.arange(4), labels]).mean()
    assert loss == pytest.approx(expected, rel=1e-5)


def test_of_a_backbone_the_last_layers_learn(framework):
    found = step(make_trainer(framework, small("resnet50"), replace(RECIPE, trainable="last-15")))
    assert any(name.startswith("backbone.") for name in found)
    first = ("backbone.conv1.", "backbone.conv1_conv", "backbone.layer1", "backbone.conv2_block")
    assert not [name for name in found if name.startswith(first)]


def test_weights_and_statistics_that_learn_go_out_and_in_again(framework):
    spec = small("mobilenetv2")
    trainer = make_trainer(framework, spec, replace(RECIPE, trainable="all"))
    assert [name for name in step(trainer) if name.endswith(STATISTICS)]
    weights, state = trainer.weights(), trainer.state()
    other = framework.make_trainer(spec, replace(RECIPE, trainable="all"), weights, "cpu")
    other.restore(weights, state)
    assert not changed(weights, other.weights())
    np.testing.assert_array_equal(other.logits(batch()[0]), trainer.logits(batch()[0]))


def test_half_of_a_backbones_weights_are_refused(framework, frozen):
    spec, weights = small("mobilenetv2"), frozen("mobilenetv2").weights()
    lost = next(name for name in weights if name.startswith("backbone."))
    with pytest.raises(WeightsError, match="backbone"):
        framework.make_trainer(spec, RECIPE, {k: v for k, v in weights.items() if k != lost}, "cpu")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_file_of_the_published_layout_is_read(published, framework_name, variant):
    path, expected = published(variant)
    spec = small(variant)
    found = start_weights(str(path), spec, RECIPE, framework_name, 0.125)
    backbone = {name for name in found if name.startswith("backbone.")}
    assert backbone
    for name in backbone:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    fresh = initial_weights(spec, RECIPE)
    for name, array in fresh.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_a_file_of_the_published_layout_is_no_whole_network(published, framework_name):
    path, _ = published("mobilenetv2")
    hints = Hints(variant="mobilenetv2", num_classes=4, input_size=64)
    command = f"alexnet train --framework {framework_name} --variant mobilenetv2 --weights {path}"
    with pytest.raises(WeightsError, match=f"but not its head. .*: {command};"):
        read_network(path, hints)


def test_a_process_of_one_thread_trains_from_a_file(published, framework_name, tmp_path):
    path, _ = published("mobilenetv2")
    command = [sys.executable, "-m", "alexnet_impl", "train", "--framework", framework_name]
    command += ["--threads", "1", "--variant", "mobilenetv2", "--weights", str(path)]
    command += ["--recipe", "mobilenetv2", "--recipe.epochs", "1", "--dataset", "synthetic"]
    command += ["--train-images", "8", "--test-images", "4", "--output", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert RunFolder.open(tmp_path / "run").result.status == "finished"


def test_a_file_of_another_backbone_is_refused(published, framework_name):
    path, _ = published("vgg16")
    with pytest.raises(WeightsError, match=r"is not a file of|not a file of keras"):
        start_weights(str(path), small("mobilenetv2"), RECIPE, framework_name)


def test_a_file_of_the_other_library_is_refused(framework_name, tmp_path):
    other = {"torch": "tensorflow", "tensorflow": "torch"}[framework_name]
    ending = {"torch": ".pth", "tensorflow": ".h5"}[other]
    path = tmp_path / f"vgg16{ending}"
    path.touch()
    with pytest.raises(WeightsError, match=f"is another network than {framework_name}'s"):
        start_weights(str(path), small("vgg16"), RECIPE, framework_name)


def test_a_truncated_file_is_refused(published, framework_name, tmp_path):
    whole, _ = published("mobilenetv2")
    path = tmp_path / whole.name
    path.write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(WeightsError):
        start_weights(str(path), small("mobilenetv2"), RECIPE, framework_name)


@pytest.mark.torch
def test_wrong_keys_and_shapes_are_named(tmp_path):
    import torch

    path, _ = write_published("torch", "mobilenetv2", tmp_path)
    tensors = torch.load(path, weights_only=True)
    first = next(iter(tensors))
    torch.save({k: v for k, v in tensors.items() if k != first}, tmp_path / "lost.pth")
    torch.save({**tensors, first: torch.zeros(1)}, tmp_path / "shape.pth")
    for name in ("lost", "shape"):
        with pytest.raises(WeightsError, match=first):
            start_weights(str(tmp_path / f"{name}.pth"), small("mobilenetv2"), RECIPE, "torch")


class Runs:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.torch
def test_code_in_a_file_does_not_run(tmp_path):
    path, trace_of_it = tmp_path / "evil.pth", tmp_path / "ran"
    path.write_bytes(pickle.dumps({"features.0.weight": Runs(trace_of_it)}))
    with pytest.raises(WeightsError):
        start_weights(str(path), small("vgg16"), RECIPE, "torch")
    assert not trace_of_it.exists()


@pytest.mark.tensorflow
def test_a_file_that_lacks_layers_is_refused_and_not_filled_up(tmp_path):
    """Keras would only warn, and leave initial weights."""
    import keras

    images = keras.Input((64, 64, 3))
    first = keras.layers.Conv2D(64, 3, padding="same", name="block1_conv1")(images)
    path = tmp_path / "less.weights.h5"
    keras.Model(images, first).save_weights(path)
    with pytest.raises(WeightsError, match="vgg16"):
        start_weights(str(path), small("vgg16"), RECIPE, "tensorflow")


@pytest.mark.tensorflow
def test_the_preprocessing_is_that_of_keras_applications():
    """caffe and symmetric: what preprocess_input does to pixels; and the mistake of doing both."""
    import keras

    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    floats = images.astype(np.float32)
    vgg16, mobilenet_v2 = keras.applications.vgg16, keras.applications.mobilenet_v2
    expected = {
        "caffe": vgg16.preprocess_input(floats.copy()),
        "symmetric": mobilenet_v2.preprocess_input(floats.copy()),
        "symmetric-then-caffe": vgg16.preprocess_input(floats / 127.5 - 1),
    }
    spec = small("vgg16")
    for scaling, array in expected.items():
        recipe = replace(RECIPE, input_scaling=scaling)
        trainer = make_trainer(get_framework("tensorflow"), spec, recipe)
        np.testing.assert_allclose(np.asarray(trainer.preprocess(images)), array, atol=2e-4)
