"""The gate before a ratio closes, in every precision that is timed, and no ratio passes it."""

import re
from contextlib import contextmanager
from dataclasses import replace

import pytest
from support.measured import noise_config

from alexnet_impl.cli import main
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.measurement import gate
from alexnet_impl.measurement.case import Case, synthetic_data
from alexnet_impl.measurement.gate import pass_gate
from alexnet_impl.measurement.recording import read_recording
from alexnet_impl.processes.remote_trainer import LocalSide
from alexnet_impl.recipe.recipe import Recipe

pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.tensorflow]

RECIPE = Recipe(initializer="he", last_layer_std=0.01)
CASE = Case(workload="training", config=noise_config(RECIPE, data=synthetic_data(8)))


@pytest.fixture
def tensorflow_follows(monkeypatch):
    """Both sides in this process, TensorFlow's after a recipe that differs by these fields."""

    def follow(**changes):
        class Other(LocalSide):
            def make(self, spec, recipe, weights):
                return super().make(spec, replace(recipe, **changes), weights)

        @contextmanager
        def both_sides(config, _interpreters):
            train = load_dataset(config.data).train
            yield [LocalSide("torch", train), Other("tensorflow", train)]

        monkeypatch.setattr(gate, "both_sides", both_sides)

    return follow


def in_precision(precision, **recipe):
    changed = replace(CASE.config.recipe, precision=precision, **recipe)
    return replace(CASE, config=replace(CASE.config, recipe=changed))


PRECISIONS = pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])


@PRECISIONS
def test_gate_is_open_for_one_recipe(tensorflow_follows, precision):
    tensorflow_follows()
    assert pass_gate(in_precision(precision), {}).outcome == "equal"


@PRECISIONS
@pytest.mark.parametrize(
    ("change", "checks"),
    [
        ({"input_scaling": "unit"}, "preprocessing"),
        ({"loss_input": "softmax-twice"}, "loss|median gradient"),
        ({"nesterov": True}, "weights' change|median change"),
        ({"optimizer": "adam"}, "weights' change|median change"),
    ],
    ids=["preprocessing", "loss", "nesterov", "optimiser"],
)
def test_gate_is_shut_for_two(tensorflow_follows, precision, change, checks):
    tensorflow_follows(**change)
    found = pass_gate(in_precision(precision), {})
    assert not found.holds
    assert re.match(f"differs: ({checks}) ", found.outcome)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("same", "other"),
    [
        ({}, {"momentum": 0.0}),
        ({"optimizer": "adam"}, {"beta1": 0.8}),
        ({"optimizer": "adam"}, {"beta2": 0.99}),
        ({}, {"momentum_formula": "keras"}),
    ],
    ids=["momentum", "beta1", "beta2", "formula"],
)
def test_gate_sees_what_starts_at_a_later_update(tensorflow_follows, precision, same, other):
    """The formula shows at another rate. float16 lets other betas through (docs/benchmarks.md)."""
    tensorflow_follows(**other)
    found = pass_gate(in_precision(precision, **same), {})
    assert re.match("differs: (weights' change|median change) ", found.outcome)


@pytest.mark.parametrize("other", [{"momentum": 0.0}, {"momentum_formula": "keras"}])
def test_gate_sees_another_momentum_in_float16(tensorflow_follows, other):
    tensorflow_follows(**other)
    found = pass_gate(in_precision("float16"), {})
    assert re.match("differs: (weights' change|median change) ", found.outcome)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_gate_sees_the_optimiser_of_a_few_kernels(tensorflow_follows, precision):
    """Muon updates four of sixteen weights differently than SGD."""
    muon = in_precision(precision, optimizer="muon", steps_per_call=4, device_data=True)
    tensorflow_follows()
    assert pass_gate(muon, {}).outcome == "equal"
    tensorflow_follows(optimizer="sgd")
    assert re.match("differs: (weights' change|median change) ", pass_gate(muon, {}).outcome)


def test_bench_writes_no_ratio_of_models_that_differ(tensorflow_follows, tmp_path, capsys):
    tensorflow_follows(nesterov=False)  # `quick` is with it
    flags = ["--width", "0.0625", "--batch-size", "8", "--rounds", "2", "--warm-up", "1"]
    output = tmp_path / "bench"
    code = main(["bench", *flags, "--recipe.precision", "bfloat16", "--output", str(output)])
    said = capsys.readouterr().out
    assert code == 1
    assert "gate: differs: median change" in said
    assert "no speed ratio" in said
    found = read_recording(output)
    (pair,) = found.pairs
    assert not pair["gate"]["holds"]
    assert (pair["ratio"], pair["verdict"]) == (None, None)
    assert len(found.entries) == 2
    assert not (output / "rounds.png").exists()
