"""Verdicts with their evidence, curves, intervals, and the page, from run folders."""

import json
import math
import shutil
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from types import SimpleNamespace

import numpy as np
import pytest
from support.experiment_runs import judged_claim, request_of, write_experiment
from support.tables import shown

from alexnet_impl.cli import main
from alexnet_impl.report.ledger.experiments import experiments_table
from alexnet_impl.report.ledger.json_values import ledger_json
from alexnet_impl.report.ledger.page import curves_figure, shift_text, time_cells
from alexnet_impl.report.ledger.terminal import grouped, ledger_renderables, short_renderables
from alexnet_impl.report.ledger.view import (
    FRAMEWORKS_TITLE,
    PRETRAINED_TITLE,
    headline,
    pair_note,
    run_lines,
)
from alexnet_impl.report.printing import PIPED_WIDTH
from alexnet_impl.reproduction.catalogue.budget import BUDGETS
from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS
from alexnet_impl.reproduction.claims.queries import CLAIMS, curve_claims
from alexnet_impl.reproduction.runs.evidence import bar_mean
from alexnet_impl.reproduction.runs.experiment_record import ExperimentRecord
from alexnet_impl.reproduction.runs.reading import read_evidence
from alexnet_impl.reproduction.runs.requests import rebuilt_request
from alexnet_impl.reproduction.verdicts.curves import best_shift, compare_curves
from alexnet_impl.reproduction.verdicts.framework_pairs import framework_rows, pretrained_rows
from alexnet_impl.reproduction.verdicts.intervals import of_curves, of_mean, of_shares
from alexnet_impl.reproduction.verdicts.ledger import make_ledger
from alexnet_impl.reproduction.verdicts.our_figures import class_table, measure
from alexnet_impl.reproduction.verdicts.summary import comparison_rows, published_ends
from alexnet_impl.reproduction.verdicts.time_ratios import compare_times, full_time_s
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def without_runs():
    """The ledger without any run."""
    return make_ledger(None)


def entry_of(ledger, identifier):
    (entry,) = [entry for entry in ledger.entries if entry.claim.id == identifier]
    return entry


def on_machine(run, *, cpu="a CPU", device="cpu", threads=1):
    """Give a run an environment.json."""
    facts = {"cpu": cpu, "logical_cpus": 2, "framework": {"device": device, "threads": threads}}
    run.write_json("environment.json", facts)


def put(path, value, *keys):
    """Replace one value inside a JSON file."""
    whole = json.loads(path.read_text())
    place = whole
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(whole))


@pytest.fixture(scope="module")
def torch_run(tmp_path_factory):
    """A run of R3-torch, in a root of its own."""
    return write_experiment(tmp_path_factory.mktemp("R3-torch"), "R3-torch").path


def copied(run, root):
    """A copy of a run's folder and record in another root."""
    place = run.relative_to(run.parents[3])
    shutil.copytree(run.parent, (root / place).parent)
    return root / place


def problem_of(run, root, name, keys, value):
    """A copy of a run with one value replaced, and why it is left out."""
    run = copied(run, root)
    put((run.parent if name == "experiment.json" else run) / name, value, *keys)
    evidence, (problem,) = read_evidence(root)
    assert evidence == ()
    return run, problem


def test_without_any_run_claims_are_not_run_or_judged_by_themselves(without_runs):
    ledger = without_runs
    assert len(ledger.entries) == len(CLAIMS)
    assert ledger.count("not reproduced") == 0
    reproduced = {e.claim.quantity for e in ledger.entries if e.verdict == "reproduced"}
    assert reproduced == {"num_params", "model_size"}
    assert entry_of(ledger, "R3-torch/test_top1_accuracy@226").reason.endswith("R3-torch")
    assert entry_of(ledger, "R3-tf-vgg16/test_top1_accuracy@1076").reason.endswith("R3-tf-vgg16")
    measured, mistake = entry_of(ledger, "R2-tf-converted/conclusion@118").explains
    assert "its 9,216 inputs in the wrong order" in mistake
    assert "64.32 % became 9.64 %" in measured


def test_verdict_names_the_run_its_value_and_interval(tmp_path):
    run = write_experiment(tmp_path, "R3-torch", accuracy=0.7922)
    entry = judged_claim(tmp_path, "R3-torch/test_top1_accuracy@226")
    assert entry.verdict == "reproduced"
    assert entry.runs == (run.path,)
    assert "79.22 % [78.10 %, 80.34 %] (binomial)" in entry.reason


def test_difference_is_told_in_points(tmp_path):
    write_experiment(tmp_path, "R3-torch", accuracy=0.7722)
    entry = judged_claim(tmp_path, "R3-torch/test_top1_accuracy@226")
    assert entry.verdict == "not reproduced"
    assert entry.reason.endswith("-2.00 points")


@pytest.mark.parametrize(
    ("name", "claim", "accuracy", "text"),
    [
        ("R2-tf-augmented", "test_top1_accuracy@105", 0.78, "-2.00 points"),
        ("R4-torch", "test_top1_accuracy@34", 0.68, "-2.00 points"),
        ("R4-torch", "test_top1_accuracy@34", 0.78, "+3.00 points"),
        ("R4-tf", "test_top1_accuracy@46", 0.65, "-5.00 points"),
    ],
)
def test_difference_from_a_range_is_that_from_its_nearer_end(tmp_path, name, claim, accuracy, text):
    write_experiment(tmp_path, name, accuracy=accuracy)
    entry = judged_claim(tmp_path, f"{name}/{claim}")
    assert entry.verdict == "not reproduced"
    assert entry.reason.endswith(f"which is {text}")


def test_seeds_that_differ_widen_the_interval(tmp_path):
    for seed, accuracy in enumerate((0.76, 0.79, 0.80)):
        write_experiment(tmp_path, "R3-torch", accuracy=accuracy, seed=seed)
    entry = judged_claim(tmp_path, "R3-torch/test_top1_accuracy@226")
    assert entry.verdict == "reproduced"
    assert "3 seeds" in entry.measured.basis
    assert entry.measured.high - entry.measured.low > 0.1


def test_collapse_explains_and_does_not_change_the_verdict(tmp_path):
    losses = [2.3035, *[2.3028] * 9]
    write_experiment(tmp_path, "R0-torch", accuracy=0.1, losses=losses, collapsed=True)
    entry = judged_claim(tmp_path, "R0-torch/test_top1_accuracy@152")
    assert entry.verdict == "inconsistent"
    assert "ours: 10.00 %" in entry.reason
    assert any("our network collapsed by step 40" in text for text in entry.explains)
    assert judged_claim(tmp_path, "R0-torch/training_time@146").explains == ()
    assert judged_claim(tmp_path, "R0-torch/loss/epoch-10@144").verdict == "reproduced"


def test_short_run_on_all_images_speaks_for_its_epochs_alone(tmp_path):
    losses = [2.0359, 1.3786, 1.1203]
    write_experiment(tmp_path, "R3-tf", losses=losses, budget="hours")
    ledger = make_ledger(tmp_path)
    assert entry_of(ledger, "R3-tf/loss/epoch-2/bar@870").measured is not None
    beyond = entry_of(ledger, "R3-tf/loss/epoch-4/bar@874")
    assert (beyond.verdict, beyond.measured) == ("not comparable", None)
    assert beyond.reason == "scaled down: all images, 3 of 20 epochs (hours, tensorflow, seed 0)"
    final = entry_of(ledger, "R3-tf/test_top1_accuracy@920")
    assert final.verdict == "inconsistent"


def test_shorter_run_of_the_same_seed_is_no_second_seed(tmp_path):
    losses = [2.0359, 1.3786, 1.1203]
    for budget in ("full", "hours"):
        write_experiment(tmp_path, "R3-tf", losses=losses, budget=budget)
    entry = judged_claim(tmp_path, "R3-tf/loss/epoch-2/bar@870")
    assert entry.measured.basis == "half an epoch to either side, standard error"
    assert len(entry.runs) == 1


def test_collapse_is_reproduced_within_the_scatter_of_its_steps(tmp_path):
    identifier = "R0-torch/loss/epoch-10@144"
    for noise, verdict in ((1e-6, "not reproduced"), (0.01, "reproduced")):
        root = tmp_path / verdict
        write_experiment(root, "R0-torch", losses=[2.3035, *[2.3025] * 9], noise=noise)
        assert judged_claim(root, identifier).verdict == verdict


def interval_of(root, quantity, epoch):
    runs, _ = read_evidence(root)
    subject = (runs[0].record.experiment, quantity, epoch)
    claim = next(c for c in CLAIMS if (c.experiment, c.quantity, c.epoch) == subject)
    return measure(claim, runs, CLAIMS)


def test_scatter_of_a_bars_steps_counts_as_the_bar_counts_them(tmp_path):
    write_experiment(tmp_path, "R3-tf", losses=[2.0] * 20, noise=0.1)
    found = interval_of(tmp_path, "loss", 2)
    shares = [bar_mean(np.eye(4)[step]) for step in range(4)]
    reach = 1.96 * 2**0.5 * 0.1 * np.linalg.norm(shares)
    assert found.high - found.value == pytest.approx(reach, rel=1e-3)


def test_figure_of_a_partial_epoch_stands_beside_as_many_steps_of_ours(tmp_path):
    write_experiment(tmp_path, "R0-tf", losses=[2.0] * 10, noise=0.1)
    runs, _ = read_evidence(tmp_path)
    claim = next(c for c in CLAIMS if c.id == "R0-tf/loss/epoch-4/bar@217")
    whole, half = (measure(replace(claim, steps=steps), runs, CLAIMS) for steps in (claim.steps, 2))
    assert whole.value == pytest.approx(bar_mean([2.1, 1.9, 2.1, 1.9]))
    assert half.value == pytest.approx(bar_mean([2.1, 1.9]))
    reach = 1.96 * 2**0.5 * 0.1 * np.linalg.norm([0.75, 0.25])
    assert half.high - half.value == pytest.approx(reach, rel=1e-3)


def test_last_loss_of_a_report_is_that_of_an_epoch_that_ended():
    assert published_ends("R0-tf") == ((1, "2.3400"), (3, "2.3028"))
    assert published_ends("R3-tf")[1] == (20, "0.0473")


@pytest.mark.parametrize("status", ["finished", "interrupted"])
def test_evaluated_loss_has_the_standard_error_of_its_images(tmp_path, status):
    run = write_experiment(tmp_path, "R2-tf-big", losses=[2.0] * 20, noise=0.1, status=status)
    if status == "finished":
        predictions = run.read_predictions()
        picked = predictions.probabilities[np.arange(10_000), predictions.labels]
        deviation = np.log(picked).std()
    else:
        deviation = 0.1 * 128**0.5
    found = interval_of(tmp_path, "eval_loss", 20)
    reach = 1.96 * 2**0.5 * deviation / 5_000**0.5
    assert found.high - found.value == pytest.approx(reach, rel=1e-3)


def test_loss_of_one_epoch_alone_has_no_verdict(tmp_path):
    write_experiment(tmp_path, "R3-torch", losses=[2.31], status=None)
    entry = judged_claim(tmp_path, "R3-torch/loss/epoch-1@176")
    assert (entry.verdict, entry.measured) == ("not comparable", None)
    assert "a single epoch of a single seed has no interval; there it is 2.3100" in entry.reason
    later = judged_claim(tmp_path, "R3-torch/loss/epoch-2@177")
    assert later.reason == "has 1 of 20 epochs; still running, or killed (full, torch, seed 0)"
    write_experiment(tmp_path, "R3-torch", losses=[2.29], status=None, seed=1)
    entry = judged_claim(tmp_path, "R3-torch/loss/epoch-1@176")
    assert entry.measured.basis.startswith("2 seeds")


def test_bar_over_accuracies_has_no_counterpart(tmp_path):
    write_experiment(tmp_path, "R3-tf")
    entry = judged_claim(tmp_path, "R3-tf/train_top1_accuracy/epoch-20/bar@906")
    assert entry.verdict == "not comparable"
    assert entry.reason.startswith("Keras progress-bar average")


@pytest.mark.parametrize(
    "claim", ["R1-torch/train_top1_accuracy@63", "R1-tf/train_top1_accuracy@90"]
)
def test_accuracy_that_was_measured_nobody_knows_how_has_no_verdict(tmp_path, claim):
    name = claim.partition("/")[0]
    write_experiment(tmp_path, name, accuracy=0.9)
    entry = judged_claim(tmp_path, claim)
    assert entry.verdict == "not comparable"
    assert entry.reason.startswith("the report does not say how it was measured")


def test_scaled_run_is_shown_with_its_label(tmp_path):
    write_experiment(tmp_path, "R1-tf", accuracy=0.3, budget="minutes")
    entry = judged_claim(tmp_path, "R1-tf/test_top1_accuracy@90")
    assert entry.verdict == "not comparable"
    assert entry.reason.startswith("scaled down: 5,000 images, 2 of 10 epochs; there it is 0.3000")


@pytest.mark.parametrize(
    ("larger", "title"),
    [
        ({"budget": "full", "status": None, "losses": [2.0]}, "hours, torch, seed 0"),
        ({"budget": "full", "status": "interrupted", "losses": [2.0]}, "hours, torch, seed 0"),
        ({"budget": "hours", "seed": 1, "losses": [2.0, 1.5, 1.2]}, "hours, torch, seed 0"),
        ({"budget": "full", "losses": np.linspace(2, 1, 20)}, "full, torch, seed 0"),
    ],
    ids=str,
)
def test_unfinished_larger_run_hides_no_finished_one(tmp_path, larger, title):
    write_experiment(tmp_path, "R3-torch", losses=[2.0, 1.6, 1.3], budget="hours")
    write_experiment(tmp_path, "R3-torch", **larger)
    (row,) = [row for row in comparison_rows(read_evidence(tmp_path)[0]) if row.id == "R3-torch"]
    assert row.run.title == title


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": None}, "has 1 of 20 epochs; still running, or killed"),
        ({"status": "diverged"}, "has 1 of 20 epochs; diverged"),
        (
            {"budget": "hours", "status": "interrupted"},
            "scaled down: all images, 3 of 20 epochs; has 1 of 3 epochs; interrupted",
        ),
    ],
    ids=str,
)
def test_run_that_is_no_full_one_says_in_what(tmp_path, changes, reason):
    run = write_experiment(tmp_path, "R3-torch", losses=[2.0], **changes)
    entry = judged_claim(tmp_path, "R3-torch/test_top1_accuracy@226")
    assert entry.verdict == "not comparable"
    title = read_evidence(tmp_path)[0][0].title
    assert (entry.reason, entry.runs) == (f"{reason} ({title})", (run.path,))


def test_run_on_a_few_images_says_on_how_many(tmp_path):
    run = write_experiment(tmp_path, "R3-torch")
    put(run.path / "run.json", 24, "dataset", "num_train_images")
    entry = judged_claim(tmp_path, "R3-torch/test_top1_accuracy@226")
    assert entry.verdict == "not comparable"
    assert entry.reason == (
        "24 training and 10,000 test images instead of 50,000 and 10,000; "
        "there it is 0.7922 (full, torch, seed 0)"
    )


def test_times_are_compared_as_ratios_alone(tmp_path):
    for name in ("R3-torch", "R3-tf"):
        on_machine(write_experiment(tmp_path, name))
    ledger = make_ledger(tmp_path)
    assert entry_of(ledger, "R3-torch/training_time@660").verdict == "not comparable"
    ratios = {(r.first, r.second): r for r in compare_times(ledger.evidence, ledger.findings)}
    ours = ratios["R3-torch", "R3-tf"].ours
    assert (ours.value, ours.machine.text) == (pytest.approx(1.0), "a CPU, 2 CPUs, 1 thread")
    assert ratios["R0-torch", "R0-tf"].ours is None
    published = ratios["R2-torch", "R2-torch-pretrained"].published
    assert (published.value, published.doubts) == (pytest.approx(65 / 90), ())
    doubts = ratios["R2-tf-big", "R2-torch"].published.doubts
    assert doubts == ("over 4 h of R2-tf-big is inconsistent",)


def test_time_of_a_run_that_was_cut_short_is_that_of_its_epochs_that_ended(tmp_path):
    """The last epoch's first steps, or a result from before it went on, count for none."""
    for name, spent in (("R3-torch", 89.0), ("R3-tf", 0.5)):
        run = write_experiment(tmp_path, name, losses=[2.0, 1.0], status="interrupted")
        on_machine(run)
        put(run.path / "result.json", spent, "timing", "training_time_s")
    first, second = read_evidence(tmp_path)[0]
    assert full_time_s(first) == full_time_s(second) == pytest.approx(20 * 30.0)


def test_time_of_a_run_is_not_known_before_its_last_phase(tmp_path):
    """R2-tf-converted trains its head first, in shorter epochs."""
    assert EXPERIMENTS["R2-tf-converted"].recipe.phases
    write_experiment(tmp_path, "R2-tf-converted", losses=[2.0], status="interrupted")
    assert [full_time_s(run) for run in read_evidence(tmp_path)[0]] == [None]


@pytest.mark.parametrize(
    "changes",
    [{"cpu": "another CPU"}, {"threads": 2}, {"device": "cuda"}, {"cpu": None}],
    ids=str,
)
def test_times_of_two_machines_have_no_ratio(tmp_path, changes):
    on_machine(write_experiment(tmp_path, "R3-torch"))
    on_machine(write_experiment(tmp_path, "R3-tf"), **changes)
    ratios = {(r.first, r.second): r for r in compare_times(read_evidence(tmp_path)[0])}
    assert ratios["R3-torch", "R3-tf"].ours is None


@pytest.mark.parametrize(
    ("field", "value"), [("interference", 0.3), ("other_work", ["Another alexnet."])]
)
def test_times_beside_other_work_are_in_no_ratio_and_the_row_says_so(tmp_path, field, value):
    for name in ("R3-torch", "R3-tf"):
        on_machine(write_experiment(tmp_path, name))
    second = next(run for run in read_evidence(tmp_path)[0] if run.record.experiment == "R3-tf")
    put(second.path / "result.json", value, "timing", field)
    evidence, _ = read_evidence(tmp_path)
    ratios = {(r.first, r.second): r for r in compare_times(evidence)}
    ratio = ratios["R3-torch", "R3-tf"]
    assert (ratio.ours, ratio.left_out) == (None, ("R3-tf (full, tensorflow, seed 0)",))
    row = pair_of(framework_rows(evidence), "R3-torch", "R3-tf", "ours")
    assert row.time_ratio is None
    told = "no ratio of the times of R3-tf (full, tensorflow, seed 0): other work used the machine"
    assert told in pair_note(row)
    assert time_cells(ratio)[-1] == told


def test_a_seed_without_other_work_gives_the_ratio(tmp_path):
    for name in ("R3-torch", "R3-tf"):
        for seed in (0, 1):
            on_machine(write_experiment(tmp_path, name, seed=seed))
    runs = {(run.record.experiment, run.record.seed): run for run in read_evidence(tmp_path)[0]}
    put(runs["R3-tf", 0].path / "result.json", 0.3, "timing", "interference")
    evidence, _ = read_evidence(tmp_path)
    row = pair_of(framework_rows(evidence), "R3-torch", "R3-tf", "ours")
    assert row.time_ratio == pytest.approx(1.0)
    assert row.left_out == ("R3-tf (full, tensorflow, seed 0)",)


def test_times_of_two_seeds_or_without_a_machine_have_no_ratio(tmp_path):
    on_machine(write_experiment(tmp_path, "R3-torch", seed=1))
    on_machine(write_experiment(tmp_path, "R3-tf", seed=0))
    write_experiment(tmp_path, "R3-tf", seed=1)
    ratios = {(r.first, r.second): r for r in compare_times(read_evidence(tmp_path)[0])}
    assert ratios["R3-torch", "R3-tf"].ours is None


def test_damaged_run_is_reported_and_hides_no_other(tmp_path):
    write_experiment(tmp_path, "R3-torch")
    broken = write_experiment(tmp_path, "R3-tf")
    (broken.path / "run.json").write_text("{")
    evidence, problems = read_evidence(tmp_path)
    assert [run.record.experiment for run in evidence] == ["R3-torch"]
    assert len(problems) == 1
    (broken.path.parent / "experiment.json").unlink()
    assert "experiment.json: cannot be read (No such file" in read_evidence(tmp_path)[1][0]


@pytest.mark.parametrize(
    ("name", "keys", "value"),
    [
        ("experiment.json", ("experiment",), ["a"]),
        ("experiment.json", ("experiment",), "R3-torhc"),
        ("experiment.json", ("budget",), None),
        ("experiment.json", ("seed",), "x"),
        ("experiment.json", ("seed",), None),
        ("experiment.json", ("label",), 5),
        ("experiment.json", ("mismatches",), "abc"),
        ("experiment.json", ("mismatches",), [1]),
        ("experiment.json", ("more",), 1),
        ("run.json", ("config", "width"), "a"),
        ("run.json", ("config", "threads"), "a"),
        ("run.json", ("config", "data", "classes"), "abc"),
        ("run.json", ("dataset", "num_train_images"), "a"),
        ("run.json", ("dataset", "num_test_images"), 0),
        ("run.json", ("dataset", "class_names"), ["cat", "dog", "ship"]),
        ("run.json", ("dataset", "class_names"), []),
        ("run.json", ("dataset", "fingerprint"), None),
        ("run.json", ("dataset", "image_size"), [32]),
        ("history.json", ("epochs", 0, "loss"), None),
        ("history.json", ("epochs", 0, "loss"), math.nan),
        ("history.json", ("epochs", 0, "eval_top1_accuracy"), 7.0),
        ("history.json", ("epochs", 1, "step"), 4),
        ("history.json", ("epochs", 1, "epoch"), 1),
        ("history.json", ("step_loss",), []),
        ("history.json", ("step_loss",), None),
        ("history.json", ("step_loss", 0), None),
        ("result.json", ("test_top1_accuracy",), "x"),
        ("result.json", ("test_top1_accuracy",), 79.22),
        ("result.json", ("status",), "foo"),
        ("result.json", ("steps",), 4),
        ("result.json", ("collapse", "seen"), {"step": 1, "dead_share": {}, "logits_std": 0}),
    ],
    ids=str,
)
def test_damaged_run_is_left_out_and_named(torch_run, tmp_path, name, keys, value):
    run, problem = problem_of(torch_run, tmp_path, name, keys, value)
    assert str(run.parent) in problem
    assert "__init__" not in problem


@pytest.mark.parametrize(
    ("name", "keys", "value", "message"),
    [
        (
            *("run.json", ("config", "recipe", "learning_rate"), 0.5),
            "is not a run of R3-torch: learning_rate=0.5, not 0.001; run it again with another",
        ),
        ("run.json", ("config", "variant"), "slim", "variant=slim, not cifar"),
        ("run.json", ("config", "recipe", "epochs"), 2, "epochs=2, not 20"),
        ("run.json", ("config", "recipe", "seed"), 3, "seed=3, not 0"),
        (
            "run.json",
            ("config", "framework"),
            "tensorflow",
            "it lies in full/R3-torch/seed-0",
        ),
        ("run.json", ("config", "data", "train_images"), 24, "train_images=24, not None"),
        ("run.json", ("config", "weights"), "random.pt", "weights=random.pt, not None"),
        ("experiment.json", ("experiment",), "R3-tf", "is not a run of R3-tf: "),
        ("experiment.json", ("budget",), "hours", "epochs=20, not 3"),
        ("experiment.json", ("budget",), "huge", "Unknown budget 'huge'"),
        ("experiment.json", ("seed",), 1, "seed=0, not 1"),
    ],
    ids=str,
)
def test_run_of_something_else_is_left_out(torch_run, tmp_path, name, keys, value, message):
    run, problem = problem_of(torch_run, tmp_path, name, keys, value)
    assert problem.startswith(f"{run}: ")
    assert message in problem


def test_run_that_was_moved_under_another_name_is_left_out(tmp_path):
    run = write_experiment(tmp_path, "R3-torch")
    run.path.parent.rename(run.path.parents[1] / "seed-1")
    assert read_evidence(tmp_path)[0] == ()


def test_recipe_that_changed_leaves_its_old_runs_out(tmp_path, monkeypatch):
    write_experiment(tmp_path, "R3-torch")
    changed = replace(EXPERIMENTS["R3-torch"].recipe, momentum=0.5)
    monkeypatch.setitem(EXPERIMENTS, "R3-torch", replace(EXPERIMENTS["R3-torch"], recipe=changed))
    assert "is not a run of R3-torch: momentum=0.9, not 0.5" in read_evidence(tmp_path)[1][0]


@pytest.mark.parametrize("budget", list(BUDGETS))
def test_request_of_every_experiment_and_budget_is_rebuilt_from_its_config(budget):
    for name in EXPERIMENTS:
        request = request_of(name, budget)
        config = RunConfig.from_dict(json.loads(json.dumps(request.config.to_dict())))
        rebuilt = rebuilt_request(request.experiment, request.budget, config)
        assert (rebuilt.config, rebuilt.mismatches) == (request.config, ()), name


@pytest.mark.parametrize("budget", list(BUDGETS))
def test_run_of_every_budget_is_taken(tmp_path, budget):
    for name in ("R2-tf-converted", "R4-tf-mobilenetv2"):
        write_experiment(tmp_path, name, budget=budget)
    runs, problems = read_evidence(tmp_path)
    assert (problems, [run.record.mismatches for run in runs]) == ((), [(), ()])
    assert [run.is_full for run in runs] == [budget == "full"] * 2


def test_run_that_began_with_a_file_is_taken_and_told_of(tmp_path):
    run = write_experiment(tmp_path, "R3-torch-pretrained")
    put(run.path / "run.json", "/mine/random.pt", "config", "weights")
    (found,), _ = read_evidence(tmp_path)
    assert "starts from /mine/random.pt, not known to be torchvision" in found.record.mismatches[0]


@pytest.mark.parametrize(
    ("file", "verdict"),
    [("random.pth", "not comparable"), ("alexnet-owt-7be5be79.pth", "reproduced")],
)
def test_file_is_evidence_for_the_reports_if_it_is_known_to_be_the_published_one(
    tmp_path, file, verdict
):
    name = "R3-torch-pretrained"
    losses = [claim.value for claim in curve_claims(name)]
    run = write_experiment(tmp_path, name, accuracy=0.9116, losses=losses)
    put(run.path / "run.json", f"/mine/{file}", "config", "weights")
    ledger = make_ledger(tmp_path)
    known = verdict == "reproduced"
    assert [run.is_full for run in ledger.evidence] == [known]
    assert [curve.comparable for curve in ledger.curves] == [known]
    for identifier in ("test_top1_accuracy@449", "loss/epoch-1@394", "recall/macro avg@543"):
        entry = entry_of(ledger, f"{name}/{identifier}")
        assert entry.verdict == verdict
        said = f"starts from /mine/{file}, not known to be torchvision:IMAGENET1K_V1; there it is"
        assert entry.reason.startswith(said) != known


@pytest.mark.parametrize(
    ("file", "known"),
    [
        ("torchvision-IMAGENET1K_V1-unpermuted.safetensors", True),
        ("7be5be79aaaabbbb-unpermuted.safetensors", True),
        ("0123456789abcdef-unpermuted.safetensors", False),
    ],
)
def test_weights_with_the_mistake_in_them_are_known_by_the_digest_of_those_before_it(
    tmp_path, file, known
):
    run = write_experiment(tmp_path, "R2-tf-converted")
    put(run.path / "run.json", f"/cache/{file}", "config", "weights")
    (found,), _ = read_evidence(tmp_path)
    assert (found.has_published_weights, found.is_full) == (known, known)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        (
            *("class_names", [f"pet {number}" for number in range(10)]),
            "images of 10 other classes (pet 0, pet 1,",
        ),
        ("num_train_images", 40_000, "40,000 training and 10,000 test images instead of 50,000"),
    ],
    ids=str,
)
def test_other_images_are_a_mismatch_and_not_all_images(tmp_path, key, value, told):
    run = write_experiment(tmp_path, "R3-torch")
    put(run.path / "run.json", value, "dataset", key)
    (found,), _ = read_evidence(tmp_path)
    assert not found.has_all_images
    assert found.record.mismatches[0].startswith(told)


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": np.full(10_000, 99)},
        {"labels": np.full(10_000, -1)},
        {"labels": np.zeros(9_999, np.int64)},
        {"labels": np.full(10_000, "cat")},
        {"probabilities": np.full((10_000, 3), 0.1, np.float32)},
        {"probabilities": np.zeros((0, 10), np.float32), "labels": np.zeros(0, np.int64)},
        {"probabilities": np.full((10_000, 10), np.nan, np.float32)},
        {"probabilities": np.full((10_000, 10), "a")},
    ],
    ids=lambda changes: f"{list(changes)} {next(iter(changes.values())).shape}",
)
def test_predictions_of_other_images_are_damage(torch_run, tmp_path, changes):
    run = RunFolder(copied(torch_run, tmp_path))
    run.write_predictions(replace(run.read_predictions(), **changes))
    evidence, (problem,) = read_evidence(tmp_path)
    assert evidence == ()
    assert "predictions.npz: is damaged (" in problem


def test_curves_are_compared_over_the_epochs_that_both_have(tmp_path):
    write_experiment(tmp_path, "R3-torch", losses=[2.3, 2.1, 1.7, 1.5], status=None)
    (curve,) = compare_curves(read_evidence(tmp_path)[0])
    assert (len(curve.published), len(curve.ours)) == (20, 4)
    assert curve.differences == pytest.approx((-0.0007, 0.1055, 0.0731, 0.0657), abs=1e-4)
    assert curve.largest == (2, pytest.approx(0.1055, abs=1e-4))
    assert curve.shift > 0


def test_shift_is_found_where_one_curve_is_the_other_moved():
    epochs = np.arange(10)
    assert best_shift(np.exp(-0.2 * epochs), np.exp(-0.2 * (epochs - 1))) == pytest.approx(1.0)
    assert best_shift([1, 2, 3], [1, 2]) is None


def test_bar_is_the_mean_of_running_means():
    assert bar_mean([4.0, 2.0, 0.0]) == pytest.approx((4 + 3 + 2) / 3)
    assert bar_mean([1.5] * 7) == pytest.approx(1.5)


def test_interval_of_shares_has_both_binomials():
    found = of_shares([0.8], 10_000, 0.8, 10_000)
    assert found.high - 0.8 == pytest.approx(1.96 * (2 * 0.8 * 0.2 / 10_000) ** 0.5, rel=1e-3)
    assert found.holds(0.805, 0.82)
    assert not found.holds(0.82, 0.83)


def test_interval_of_one_curve_is_half_an_epoch():
    found = of_curves([[3.0, 2.0, 1.5]], 2, 0.0)
    assert (found.low, found.high) == pytest.approx((1.75, 2.5))
    last = of_curves([[3.0, 2.0, 1.5]], 3, 0.0)
    assert (last.low, last.high) == pytest.approx((1.25, 1.75))


@pytest.mark.parametrize("curves", [[[2.0, 2.0]], [[2.0], [2.0]]], ids=["flat", "equal seeds"])
def test_interval_of_a_loss_is_as_wide_as_both_standard_errors(curves):
    found = of_curves(curves, 1, 0.01)
    reach = 1.96 * 2**0.5 * 0.01
    assert (found.low, found.high) == pytest.approx((2 - reach, 2 + reach), abs=1e-4)


def test_interval_of_a_mean_rests_on_its_standard_error():
    found = of_mean([1.0], 0.1)
    assert found.high == pytest.approx(1 + 1.96 * 0.1 * 2**0.5, rel=1e-3)


def test_class_table_is_scikit_learns(tmp_path):
    from sklearn.metrics import precision_recall_fscore_support

    predictions = write_experiment(tmp_path, "R3-torch").read_predictions()
    expected = precision_recall_fscore_support(predictions.labels, predictions.predicted)[:3]
    np.testing.assert_allclose(class_table(predictions, 10), np.stack(expected, axis=1))


def test_comparison_has_every_experiment_with_both_sides(tmp_path):
    write_experiment(tmp_path, "R3-torch", losses=[2.3, 0.3])
    rows = {row.id: row for row in comparison_rows(read_evidence(tmp_path)[0])}
    assert rows["R3-torch"].our_losses == ((1, "2.3000"), (2, "0.3000"))
    assert rows["R3-torch"].losses == ((1, "2.3007"), (20, "0.3160"))
    assert rows["R2-tf-big"].losses == ((20, "0.0782"),)
    assert rows["R3-tf-vgg16"].pretrained
    assert rows["R3-tf-vgg16"].run is None
    assert not rows["R3-torch"].pretrained


@pytest.mark.parametrize(
    ("name", "claim", "accuracy"),
    [
        ("R3-torch-pretrained", "test_top1_accuracy@449", 0.9116),
        ("R3-tf-vgg16", "test_top1_accuracy@1111", 0.8893),
        ("R4-tf-mobilenetv2", "test_top1_accuracy@90", 0.87),
    ],
)
def test_run_that_began_with_weights_is_judged_like_any_other(tmp_path, name, claim, accuracy):
    run = write_experiment(tmp_path, name, accuracy=accuracy)
    ledger = make_ledger(tmp_path)
    entry = entry_of(ledger, f"{name}/{claim}")
    assert (entry.verdict, entry.runs) == ("reproduced", (run.path,))
    (row,) = [row for row in comparison_rows(ledger.evidence) if row.run is not None]
    assert (row.id, row.pretrained) == (name, True)


def test_run_of_phases_is_full_with_all_of_its_epochs(tmp_path):
    write_experiment(tmp_path, "R2-tf-converted")
    write_experiment(tmp_path, "R2-tf-converted-permuted", budget="hours", losses=[1.0, 0.5])
    runs, _ = read_evidence(tmp_path)
    assert {run.record.experiment: run.is_full for run in runs} == {
        "R2-tf-converted": True,
        "R2-tf-converted-permuted": False,
    }


def test_epochs_over_kept_features_give_no_time(tmp_path):
    for name in ("R3-torch", "R3-tf", "R3-tf-vgg16"):
        on_machine(write_experiment(tmp_path, name))
    ratios = {(r.first, r.second): r for r in compare_times(read_evidence(tmp_path)[0])}
    assert ratios["R3-torch", "R3-tf"].ours is not None
    assert ratios["R3-torch", "R3-tf-vgg16"].ours is None


def pair_of(rows, first, second, source):
    return next(r for r in rows if (r.first, r.second) == (first, second) and source in r.source)


def test_published_pair_has_both_accuracies_their_difference_losses_and_what_differs(
    without_runs,
):
    rows = framework_rows((), without_runs.findings)
    row = pair_of(rows, "R3-torch", "R3-tf", "published")
    assert row.accuracies == ("79.22 %", "80.4 % or 80.76 %")
    assert [round(d.value, 4) for d in row.differences] == [-0.0118, -0.0154]
    assert row.differences[1].low < -0.0154 < row.differences[1].high < 0
    assert row.losses[1] == ((1, "2.0359"), (20, "0.0473"))
    assert [text.partition(":")[0] for text in row.differs] == ["shuffle_buffer", "initializer"]
    assert len(pair_of(rows, "R0-torch", "R0-tf", "published").time_ratio.doubts) == 2
    assert pair_of(rows, "R4-torch", "R4-tf", "published").differences == ()


def test_our_pair_is_of_one_budget_seed_and_dataset(tmp_path):
    for seed, (first, second) in enumerate([(0.79, 0.80), (0.78, 0.82)]):
        on_machine(write_experiment(tmp_path, "R3-torch", accuracy=first, seed=seed))
        on_machine(write_experiment(tmp_path, "R3-tf", accuracy=second, seed=seed))
    write_experiment(tmp_path, "R3-torch", accuracy=0.1, seed=2)
    write_experiment(tmp_path, "R3-tf", accuracy=0.1, seed=2, budget="minutes")
    row = pair_of(framework_rows(read_evidence(tmp_path)[0]), "R3-torch", "R3-tf", "ours")
    assert row.source == "ours: full, seeds 0, 1"
    assert row.accuracies == ("78.50 %", "81.00 %")
    (difference,) = row.differences
    assert difference.value == pytest.approx(-0.025)
    assert difference.low < -0.1
    assert difference.high > 0.05
    assert row.time_ratio == pytest.approx(1.0)


def test_difference_of_one_seed_has_both_binomials(tmp_path):
    write_experiment(tmp_path, "R3-torch", accuracy=0.79)
    write_experiment(tmp_path, "R3-tf", accuracy=0.80)
    row = pair_of(framework_rows(read_evidence(tmp_path)[0]), "R3-torch", "R3-tf", "ours")
    (difference,) = row.differences
    reach = 1.96 * (0.79 * 0.21 / 10_000 + 0.8 * 0.2 / 10_000) ** 0.5
    assert difference.high - difference.value == pytest.approx(reach, rel=0.01)


def test_experiment_that_ran_in_both_frameworks_differs_in_that_alone(tmp_path):
    for framework in ("torch", "tensorflow"):
        write_experiment(tmp_path / framework, "R3-torch", framework=framework, budget="hours")
    evidence = read_evidence(tmp_path / "torch")[0] + read_evidence(tmp_path / "tensorflow")[0]
    row = pair_of(framework_rows(evidence), "R3-torch in torch", "in tensorflow", "ours: hours")
    assert row.differs == ("the framework alone",)
    assert row.time_ratio is None


@pytest.mark.parametrize(
    ("file", "begins"),
    [
        ("/a/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", "keras:imagenet"),
        ("/a/copy.h5", "/a/copy.h5"),
    ],
)
def test_pretrained_stands_against_its_reports_scratch_in_the_same_framework(
    tmp_path, file, begins
):
    write_experiment(tmp_path, "R3-tf", accuracy=0.8)
    pretrained = write_experiment(tmp_path, "R3-tf-vgg16", accuracy=0.89)
    put(pretrained.path / "run.json", file, "config", "weights")
    rows = pretrained_rows(read_evidence(tmp_path)[0])
    row = pair_of(rows, "R3-tf", "R3-tf-vgg16", "ours")
    assert row.differences[0].value == pytest.approx(-0.09)
    assert all(a.split("-")[:2] == b.split("-")[:2] for a, b in ((r.first, r.second) for r in rows))
    assert "input_size: 32 / 224" in row.differs
    assert f"weights: drawn / {begins}" in row.differs


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """What `alexnet ledger` writes of a few runs, one of which is left out."""
    root = tmp_path_factory.mktemp("reported")
    for name in ("R3-torch", "R3-tf", "R3-tf-vgg16"):
        write_experiment(root, name)
    left_out = write_experiment(root, "R3-torch", seed=1).path
    put(left_out.parent / "experiment.json", "R3-torhc", "experiment")
    page = root / "ledger.html"
    with redirect_stdout(StringIO()) as out:
        assert main(["ledger", str(root), "--all", "--html", str(page)]) == 0
    with redirect_stdout(StringIO()) as values, redirect_stderr(StringIO()):
        assert main(["ledger", str(root), "--json"]) == 0
    return SimpleNamespace(
        ledger=make_ledger(root),
        page=page.read_text(),
        values=json.loads(values.getvalue()),
        printed=out.getvalue(),
        left_out=left_out,
    )


@pytest.mark.slow
def test_pairs_are_in_the_terminal_on_the_page_and_in_the_json(reported):
    printed, page = printed_at(200, reported.ledger), reported.page
    for text in (FRAMEWORKS_TITLE, PRETRAINED_TITLE, "R3-torch / R3-tf", "ours: full, seed 0"):
        assert text in printed
        assert text in page
    assert [row["source"] for row in reported.values["frameworks"]].count("published") == 5


def printed_at(width, ledger):
    return shown(*ledger_renderables(ledger, width), width=width)


@pytest.mark.parametrize("width", [80, 119, 120])
def test_terminal_keeps_ids_and_verdicts_whole(width, without_runs):
    lines = printed_at(width, without_runs).splitlines()
    (line,) = [one for one in lines if one.split()[:1] == ["R3-torch"] and "20 not run" in one]
    assert ("alexnet reproduce" in line) == (width >= 120)
    assert not any("…" in one for one in lines)


@pytest.mark.parametrize("width", [80, 160])
def test_list_of_experiments_breaks_no_framework(width):
    printed = shown(experiments_table(width), width=width)
    assert "…" not in printed
    assert printed.count("tensorflow") == sum(
        one.framework == "tensorflow" for one in EXPERIMENTS.values()
    )


def test_mistake_explains_losses_and_accuracies_alone(without_runs):
    ledger = without_runs
    mistake = EXPERIMENTS["R2-tf-big"].mistake
    explained = {
        e.claim.quantity
        for e in ledger.entries
        if e.claim.experiment == "R2-tf-big" and mistake in e.explains
    }
    assert {"test_top1_accuracy", "eval_loss"} <= explained
    assert not explained & {"training_time", "epoch_time", "num_params", "model_size"}


@pytest.mark.parametrize(
    ("identifier", "page"),
    [
        ("R0-torch/test_top1_accuracy@152", "docs/collapse.md"),
        ("R0-tf/eval_loss/epoch-1@205", "docs/collapse.md"),
        ("R1-torch/test_top1_accuracy@63", "docs/explain.md"),
        ("R3-tf/test_top1_accuracy@920", "docs/explain.md"),
        ("R2-tf-converted/conclusion/@118", "docs/parity.md"),
        ("R3-tf-vgg16/test_top1_accuracy@1076", "docs/transfer.md"),
    ],
)
def test_claim_is_explained_by_a_page(without_runs, identifier, page):
    entry = entry_of(without_runs, identifier.replace("/@", "@"))
    assert any(page in text for text in entry.explains)


def test_curve_of_one_published_epoch_is_no_curve(tmp_path):
    write_experiment(tmp_path, "R2-tf-big")
    assert compare_curves(read_evidence(tmp_path)[0]) == ()


def test_flat_curve_has_no_shift():
    assert best_shift([2.3035, *[2.3028] * 9], [2.31, *[2.3027] * 9]) is None
    assert best_shift([2.3, 2.0, 1.6, 1.4], [2.3, 2.1, 1.7, 1.5]) is not None


@pytest.mark.parametrize(
    ("shift", "text"),
    [(None, "—"), (-0.0, "level"), (0.35, "0.35 epochs behind"), (-0.2, "0.20 epochs ahead")],
)
def test_shift_is_said_in_words(shift, text):
    assert shift_text(shift) == text


def test_terminal_has_a_row_for_a_curve_and_one_for_a_repeated_figure(without_runs):
    rows = grouped([e for e in without_runs.entries if e.claim.experiment == "R3-torch"])
    assert [len(row) for row in rows if row[0].claim.quantity == "loss"] == [20]
    accuracies = [row for row in rows if row[0].claim.quantity == "test_top1_accuracy"]
    assert [len(row) for row in accuracies] == [3]


def test_runs_say_what_they_saw_and_where_they_depart(tmp_path):
    write_experiment(tmp_path, "R3-tf")
    path = tmp_path / "full" / "R3-tf" / "seed-0" / "experiment.json"
    record = ExperimentRecord.read(path)
    replace(record, mismatches=("no buffer",)).write(path)
    lines = run_lines(make_ledger(tmp_path))
    assert lines[0].startswith("Runs on pixels (")
    assert lines[1:] == ["R3-tf differs from the report: no buffer."]


def test_json_has_every_claim_with_its_line(without_runs):
    values = ledger_json(without_runs)
    assert len(values["entries"]) == len(CLAIMS)
    assert all(entry["line"] and entry["verdict"] for entry in values["entries"])
    json.dumps(values)


@pytest.mark.slow
def test_page_has_answers_curves_tables_and_verdicts(reported):
    page = reported.page
    assert headline(reported.ledger) in page
    assert ">pretrained</td>" in page
    assert "Our answer" in page
    assert page.count('class="good">reproduced') >= 1
    assert "<svg " in page
    assert "http" not in page.replace("http-equiv", "")
    titles = [axes.get_title(loc="left") for axes in curves_figure(reported.ledger.curves).axes]
    assert titles[:2] == ["R0-torch", "R0-tf"]


@pytest.mark.slow
def test_command_prints_and_writes_the_whole_ledger(reported):
    assert f"{len(CLAIMS)} claims" in reported.printed
    assert max(map(len, reported.printed.splitlines())) >= PIPED_WIDTH
    assert reported.page.startswith("<!doctype html>")
    assert reported.values["runs"] == [str(run.path) for run in reported.ledger.evidence]
    assert reported.values == json.loads(json.dumps(ledger_json(reported.ledger)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "nowhere: there is no such folder; alexnet reproduce writes one."),
        ("file", "file: is a file; name the folder given to reproduce --output."),
        ("runs/full", "full: holds no runs of experiments (BUDGET/ID/seed-N/FRAMEWORK); name the"),
    ],
    ids=str,
)
def test_folder_without_runs_is_refused(tmp_path, capsys, name, message):
    write_experiment(tmp_path / "runs", "R3-torch")
    (tmp_path / "file").touch()
    assert main(["ledger", str(tmp_path / name)]) == 1
    printed = capsys.readouterr()
    assert message in " ".join(printed.err.split())
    assert printed.out == ""


@pytest.mark.slow
def test_run_that_was_left_out_is_told_with_its_path_on_the_page_and_in_the_terminal(reported):
    said = f"eft out: {reported.left_out}: Unknown experiment"
    assert said in reported.page
    for renderables in (ledger_renderables, short_renderables):
        assert any(said in str(renderable) for renderable in renderables(reported.ledger, 160))


def test_short_ledger_counts_verdicts_and_shows_contradictions_alone(without_runs, capsys):
    assert main(["ledger"]) == 0
    printed = capsys.readouterr().out
    assert headline(without_runs) in printed
    reasons = {kind: [] for kind in ("inconsistent", "explained")}
    for finding in without_runs.findings:
        reasons.get(finding.kind, []).append(finding.reason[:40])
    assert all(reason in printed for reason in reasons["inconsistent"])
    assert not any(reason in printed for reason in reasons["explained"])
