"""The script that docs/collapse.md names reads its table, judges by its definitions, and runs."""

import importlib.util
import math
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.network.spec import Dense
from alexnet_impl.runs.records import ActivationStatistics

pytestmark = [pytest.mark.fast, pytest.mark.torch]

SCRIPT = Path(__file__).parents[2] / "docs" / "examples" / "collapse_rates.py"
CHANCE = math.log(10)


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("collapse_rates", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["collapse_rates"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("collapse_rates")


def test_the_pages_54_runs_are_read(script):
    rows = script.read_rows()
    assert (len(rows), sum(row.runs for row in rows)) == (34, 54)
    assert sum(row.runs for row in rows if row.digits) == 4
    first, narrow = rows[0], rows[30]
    assert (first.framework, first.variant, first.recipe.input_size) == (
        "torch",
        "torchvision-same",
        67,
    )
    assert (first.recipe.optimizer, first.recipe.learning_rate) == ("adam", 1e-4)
    assert (first.recipe.initializer, first.recipe.epsilon_formula) == ("keras-default", "keras")
    widths = [layer.out_features for layer in first.spec().layers if isinstance(layer, Dense)]
    assert widths == [512, 512, 10]
    assert (narrow.width, narrow.digits, narrow.recipe.initializer) == (0.25, True, "he")


def log(script, losses, gradients, *, dead=0.0, spread=1.0):
    checks = [
        ActivationStatistics(step=step, dead_share={"relu1": dead}, logits_std=spread)
        for step in range(0, len(losses) + 1, 2)
    ]
    return script.Log(shift=0.0, losses=losses, checks=checks, gradients=gradients)


def test_runs_are_judged_by_loss_and_gradients_alone(script):
    flat, falling = [CHANCE] * 20, [CHANCE - 0.2] * 20
    assert log(script, flat, [1.0, 0.005, 0.0], dead=0.0).truth == "collapsed"
    assert log(script, flat, [1.0, 0.0, 0.02]).truth == "undecided"
    assert log(script, flat, [1.0, 0.0, 0.5]).truth == "slow"
    assert log(script, falling, [1.0, 0.0, 0.0], dead=1.0, spread=0.0).truth == "learning"


def test_each_rule_alarms_at_its_fifth_suspicion_in_a_row(script):
    dead = log(script, [CHANCE] * 20, [1.0, 0.0, 0.0], dead=0.95, spread=1e-5)
    crippled = log(script, [CHANCE - 0.1] * 20, [1.0, 1.0], dead=0.85, spread=0.01)
    alarms = [[rule(each) for rule in script.RULES.values()] for each in (dead, crippled)]
    assert alarms == [[8, 8, 5], [None, 8, None]]


def test_tables_count_false_alarms_and_misses(script):
    row = script.read_rows()[0]
    dead = log(script, [CHANCE] * 20, [1.0, 0.0, 0.0], dead=0.95, spread=1e-5)
    slow = log(script, [CHANCE] * 20, [1.0, 1.0])
    lines = list(script.report([(row, dead), (row, slow)]))
    assert [line.split(" | ")[1][:6] for line in lines[2:5]] == ["0 of 1", "0 of 1", "1 of 1"]
    assert lines[-1] == f"| {row.text} | 2 | 1 | 0 | 1 | 0 | 1 |"


@pytest.mark.slow
def test_a_row_is_run(script, capsys):
    row = next(row for row in script.read_rows() if row.digits and row.width < 1)
    small = replace(row, width=1 / 16, steps=4)
    found = script.train(small, 0, load_dataset(DataConfig(dataset="digits")), trace=True)
    assert (len(found.losses), [statistics.step for statistics in found.checks]) == (4, [0, 2, 4])
    assert len(found.gradients) == 1
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "35"], "--rows 35: the table has rows 1 to 34."),
        (["--steps", "0"], "--steps 0: must be at least 1."),
        ([], "row 1 is on CIFAR-10: give --data-dir, or --rows with rows on digits: 11, 22, 31."),
        (["--bogus"], "unrecognized arguments: --bogus"),
    ],
    ids=str,
)
def test_wrong_arguments_end_with_the_usage(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("usage: collapse_rates.py")
    assert message in said
