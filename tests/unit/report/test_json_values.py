"""Runs as values for --json: numbers of the folders, and of several their comparison."""

import json

import pytest

from alexnet_impl.cli import main
from alexnet_impl.cli.output import json_text
from alexnet_impl.convert import Conversion
from alexnet_impl.network.variants import build_spec
from alexnet_impl.report.run.json_values import (
    anew_json,
    conversion_json,
    evaluation_json,
    runs_json,
)

pytestmark = pytest.mark.fast


def test_runs_have_the_numbers_of_their_folders(pair):
    found = runs_json(pair)
    assert [run["framework"] for run in found["runs"]] == ["torch", "tensorflow"]
    assert found["runs"][0]["test_loss"] == pair[0].result.test_loss
    assert found["runs"][0]["test_top1_accuracy"]["value"] == pytest.approx(0.8)
    assert found["difference"]["only_first"] == 3
    assert found["is_settled"]
    assert all(check["holds"] for check in found["checks"])


def test_a_single_run_is_compared_with_nothing(make_run):
    found = runs_json([make_run("torch", status="interrupted")])
    assert found.keys() == {"runs"}
    assert found["runs"][0]["status"] == "interrupted"
    assert found["runs"][0]["test_top1_accuracy"] is None


def test_evaluation_has_classes_and_the_confusion_matrix(pair):
    found = evaluation_json(pair[0])
    assert sum(map(sum, found["confusion_matrix"])) == 60
    assert [one["class"] for one in found["classes"]] == list(pair[0].dataset.class_names)


def test_weights_that_are_evaluated_anew_have_the_figures_of_a_run(pair):
    predictions, names = pair[0].read_predictions(), pair[0].dataset.class_names
    found = anew_json(predictions, names, "torch", "noise", loss=0.5)
    assert found.items() <= (evaluation_json(pair[0]) | {"test_loss": 0.5}).items()


def test_conversion_names_the_network_and_the_differences():
    done = Conversion(
        spec=build_spec("cifar"),
        num_weights=16,
        source="torch",
        target="tensorflow",
        max_absolute_difference=1e-6,
        max_relative_difference=1e-7,
    )
    found = json.loads(json_text(conversion_json(done)))
    assert (found["network"], found["max_absolute_difference"]) == ("cifar", 1e-6)
    assert found["pairing"] == []


@pytest.mark.parametrize("command", ["evaluate", "report"])
def test_commands_print_them_alone(pair, capsys, monkeypatch, tmp_path, command):
    monkeypatch.setattr("alexnet_impl.report.run.page.write_report", lambda *_: None)
    more = ["--output", str(tmp_path / "report.html")] if command == "report" else []
    assert main([command, str(pair[0].path), *more, "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    run = found["runs"][0] if command == "report" else found
    assert run["test_top1_accuracy"]["num_images"] == 60
    assert "80.00%" in printed.err
