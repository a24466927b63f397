"""The documented example: a trained network, converted rightly and wrongly (R2-tf-converted)."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from alexnet_impl.data import DataConfig, load_dataset
from alexnet_impl.recipe import get_recipe
from alexnet_impl.results import RunConfig, RunFolder
from alexnet_impl.training import start_run
from alexnet_impl.weights import load_weights

pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.tensorflow]

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "naive_conversion.py"


class Silent:
    def __getattr__(self, name):
        return lambda *_: None


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
    start_run(path, config, dataset, Silent())
    return path


def test_transposing_without_the_fc1_permutation_costs_the_accuracy(example, trained):
    folder = RunFolder.open(trained)
    dataset = load_dataset(folder.config.data)
    weights, _ = load_weights(trained / "weights.safetensors")
    spec, scaling = folder.config.spec(10), folder.config.recipe.input_scaling
    accuracy = {
        what: float((logits.argmax(1) == dataset.test.labels).mean())
        for what, logits in example.conversions(weights, spec, dataset.test.images, scaling)
    }
    before = folder.result.test_top1_accuracy
    assert before > 0.85
    assert accuracy["kernels transposed, fc1's rows permuted"] == pytest.approx(before, abs=0.003)
    assert accuracy["kernels transposed, fc1's rows left alone"] < 0.5
    assert accuracy["kernels turned by .T, fc1's rows permuted"] < before - 0.1


def test_the_example_prints_a_line_for_each_conversion(example, trained, capsys):
    example.main(trained)
    assert len(capsys.readouterr().out.splitlines()) == 6
