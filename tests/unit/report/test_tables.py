from dataclasses import replace

import pytest
from support.tables import row_of, shown

from alexnet_impl.errors import RunError
from alexnet_impl.recipe.named import RECIPES
from alexnet_impl.report.run.differences import equalities
from alexnet_impl.report.run.page import render
from alexnet_impl.report.run.tables import comparison_table, equality_table, evaluation_renderables
from alexnet_impl.report.run.views import view_runs

pytestmark = pytest.mark.fast


def test_comparison_table_shows_the_numbers_of_the_folders(pair):
    table = comparison_table(pair)
    assert [str(column.header) for column in table.columns] == [
        "",
        "PyTorch",
        "TensorFlow",
        "difference",
    ]
    results = [folder.result for folder in pair]
    assert row_of(table, "test loss")[1:3] == [f"{result.test_loss:.4f}" for result in results]
    losses = [folder.history.epochs[-1].loss for folder in pair]
    assert row_of(table, "last epoch's train loss")[1:3] == [f"{loss:.4f}" for loss in losses]
    assert row_of(table, "training images/s")[1:] == ["195", "156", "1.25x"]
    assert row_of(table, "training time without the first step")[3] == "0.80x"
    assert row_of(table, "time of the first step")[1:] == ["0.250 s", "1.500 s", "0.17x"]
    assert row_of(table, "peak memory of the process")[1:] == ["512 MiB", "512 MiB", "1.00x"]


@pytest.mark.usefixtures("without_figures")
def test_times_beside_other_work_are_marked_and_no_sentence_speaks_of_speed(make_run):
    """Other processes used 45 % of all cores while PyTorch trained."""
    pair = [make_run("torch"), make_run("tensorflow", framework="tensorflow")]
    result = pair[0].result
    busy = replace(result.timing, interference=0.45)
    pair[0].write_result(replace(result, timing=busy))
    table = comparison_table(pair)
    assert row_of(table, "training images/s")[1:] == ["195 *", "156", ""]
    assert row_of(table, "time of the first step")[1:] == ["0.250 s *", "1.500 s", ""]
    assert row_of(table, "peak memory of the process")[3] == "1.00x"
    note = (
        "Times with * were measured while other work used the machine (PyTorch: 45% of all cores)"
    )
    assert note in table.caption
    assert "`alexnet bench`" in table.caption
    page = render(view_runs(pair))
    assert note in page
    assert "the machine was busy: no comparison of speed" in page
    assert "ratio <b>" not in page
    pair[0].write_result(replace(result, timing=replace(busy, interference=0.05)))
    assert row_of(comparison_table(pair), "training images/s")[3] == "1.25x"


@pytest.mark.usefixtures("without_figures")
def test_times_are_marked_by_signs_of_other_work_that_no_share_shows(make_run):
    """Both runs saw one sign, which is said once."""
    pair = [make_run("torch"), make_run("tensorflow", framework="tensorflow")]
    for run in pair:
        timing = replace(run.result.timing, interference=0.02, other_work=("Another alexnet.",))
        run.write_result(replace(run.result, timing=timing))
    table = comparison_table(pair)
    assert row_of(table, "training images/s")[1:] == ["195 *", "156 *", ""]
    note = "while other work used the machine and show no speed;"
    assert note in table.caption
    assert table.caption.count("Another alexnet.") == 1
    assert "the machine was busy: no comparison of speed" in render(view_runs(pair))


def test_comparison_table_gives_the_interval_of_accuracies_and_of_their_difference(pair):
    # 48/60 and 45/60, 3 images apart; Wilson's and Bonett and Price's intervals by hand.
    assert row_of(comparison_table(pair), "test top-1 accuracy [95% interval]")[1:] == [
        "80.00% [68.22%, 88.17%]",
        "75.00% [62.77%, 84.22%]",
        "+5.00 points [-2.13, +11.80]",
    ]


@pytest.mark.parametrize("number", [1, 3])
def test_comparison_table_has_a_difference_for_two_runs_only(make_run, number):
    runs = [make_run(f"run{index}") for index in range(number)]
    headers = [str(column.header) for column in comparison_table(runs).columns]
    assert len(headers) == 1 + number
    assert "difference" not in headers


def test_comparison_table_of_an_interrupted_run_says_so_and_leaves_figures_out(pair, make_run):
    table = comparison_table([pair[0], make_run("stopped", status="interrupted")])
    assert row_of(table, "state")[2] == "interrupted after 23 of 40 steps: stopped by the user"
    assert row_of(table, "test loss")[2:] == ["—", ""]


def test_equalities_all_hold_for_equal_input(pair):
    checks = equalities(view_runs(pair))
    assert len(checks) == 6
    assert all(check.holds for check in checks)
    assert "✓" in shown(equality_table(pair))


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({"variant": "cifar-dropout"}, "variant and width"),
        ({"width": 0.25}, "variant and width"),
        ({"recipe": RECIPES["report"]}, "recipe"),
        ({"data_seed": 1}, "images (fingerprint)"),
        ({"weights": "99" * 32}, "initial weights (sha256)"),
        ({"batches": "99" * 32}, "batches, every byte (sha256)"),
        ({"noise": 1e-2}, "first step's loss"),
    ],
)
def test_equality_breaks_for_what_differs(make_run, changes, broken):
    runs = [make_run("torch"), make_run("tensorflow", framework="tensorflow", **changes)]
    checks = equalities(view_runs(runs))
    assert broken in {check.what for check in checks if check.holds is not True}


def test_equality_of_batches_cannot_be_told_of_an_interrupted_run(pair, make_run):
    checks = equalities(view_runs([pair[0], make_run("stopped", status="interrupted")]))
    assert {check.what: check.holds for check in checks}["batches, every byte (sha256)"] is None


def test_evaluation_shows_accuracy_report_and_confusions(pair):
    text = shown(*evaluation_renderables(pair[0]))
    assert "80.00% [68.22%, 88.17%] (95% interval)" in text
    assert "precision    recall  f1-score   support" in text
    assert "Confusion matrix" in text
    assert "airplane" in text


def test_evaluation_of_many_classes_lists_the_largest_confusions(make_run):
    classes = tuple(f"c{number}" for number in range(30))
    text = shown(*evaluation_renderables(make_run("many", classes=classes)))
    assert "Most frequent confusions (30 classes)" in text
    assert "Confusion matrix" not in text


def test_evaluation_does_not_read_class_names_as_markup(make_run):
    text = shown(*evaluation_renderables(make_run("torch", classes=("[red]a", "b[/]"))))
    assert "[red]a" in text
    assert "b[/]" in text


def test_evaluation_refuses_a_run_that_is_not_finished(make_run):
    with pytest.raises(RunError, match="alexnet train --resume"):
        evaluation_renderables(make_run("killed", status=None))
