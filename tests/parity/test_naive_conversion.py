"""The documented example: a trained network, converted rightly and wrongly (R2-tf-converted)."""

import importlib.util
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.starting import start_run

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.data.preprocessing import INPUT_SCALINGS, preprocess
from alexnet_impl.frameworks import get_framework
from alexnet_impl.network.variants import build_spec
from alexnet_impl.recipe.named import get_recipe
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.training.events import ignore_events
from alexnet_impl.weights.initializers import initial_weights
from alexnet_impl.weights.metadata import load_weights

pytestmark = pytest.mark.tensorflow
fast, slow, torch = pytest.mark.fast, pytest.mark.slow, pytest.mark.torch

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "naive_conversion.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("naive_conversion", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The quick recipe on the digits: over 95 % in some seconds."""
    path = tmp_path_factory.mktemp("trained") / "run"
    data = DataConfig(dataset="digits")
    recipe = replace(get_recipe("quick"), epochs=3)
    config = RunConfig(
        framework="torch", variant="cifar", width=0.25, recipe=recipe, data=data, device="cpu"
    )
    dataset = load_dataset(data, validation_fraction=recipe.validation_fraction)
    start_run(path, config, dataset, ignore_events)
    return path


@slow
@torch
def test_transposing_without_the_fc1_permutation_costs_the_accuracy(example, trained):
    folder = RunFolder.open(trained)
    dataset = load_dataset(folder.config.data)
    weights, _ = load_weights(trained / "weights.safetensors")
    spec, recipe = folder.config.spec(10), folder.config.recipe
    accuracy = {
        what: float((logits.argmax(1) == dataset.test.labels).mean())
        for what, logits in example.conversions(weights, spec, dataset.test.images, recipe)
    }
    before = folder.result.test_top1_accuracy
    assert before > 0.85
    assert accuracy["kernels transposed, fc1's rows permuted"] == pytest.approx(before, abs=0.003)
    assert accuracy["kernels transposed, fc1's rows left alone"] < 0.5
    assert accuracy["kernels turned by .T, fc1's rows permuted"] < before - 0.1


@slow
@torch
def test_the_example_prints_a_line_for_each_conversion(example, trained, capsys):
    example.main(trained)
    assert len(capsys.readouterr().out.splitlines()) == 6


@fast
@pytest.mark.parametrize("arguments", [[], ["trained", "again"]], ids=str)
def test_the_example_says_how_it_is_called(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), *arguments])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert stop.value.code == 2
    assert capsys.readouterr().err == "usage: python naive_conversion.py RUN_FOLDER\n"


@slow
def test_the_example_resizes_as_the_run_did(example):
    spec = build_spec("cifar", width=1 / 16)
    recipe = Recipe(resize="bilinear")
    weights = initial_weights(spec, recipe)
    images = np.random.default_rng(0).integers(0, 256, (2, 80, 80, 3), np.uint8)
    _, found = next(example.conversions(weights, spec, images, recipe))
    scaling, size = INPUT_SCALINGS[recipe.input_scaling], spec.input_shape[1]
    model = get_framework("tensorflow").build_model(spec)
    example.put(model, weights, example.right_kernel, lambda k: example.right_rows(k, spec))
    expected, other = (
        model.predict(preprocess(images, scaling, size, resize=resize), verbose=0)
        for resize in ("bilinear", "antialiased")
    )
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert not np.allclose(other, expected, rtol=1e-2)
