"""Each check of the reports, and each verdict, turns over when what it looks at is changed."""

import pytest
from support.experiment_runs import judged_claim, tampered, write_experiment

from alexnet_impl.reproduction.checks import CHECKS
from alexnet_impl.reproduction.claims.queries import CLAIMS

pytestmark = pytest.mark.fast


def found_by(name, claims):
    found = list(CHECKS[name](claims))
    assert {finding.check for finding in found} <= {name}
    return found


@pytest.mark.parametrize(
    ("check", "identifier", "changes"),
    [
        ("two_values", "R1-torch/test_top1_accuracy@147", {"printed": "61.95"}),
        ("two_values", "R0-torch/input_scaling@280", {"says": "unit"}),
        ("time_ratios", "R0-torch/training_time@320", {"printed": "690.00"}),
        ("never_learned", "R0-tf/sample_prediction@304", {"printed": "3"}),
        ("sample_images", "R0-torch/sample_prediction@282", {"quote": "Predicción: 6 (Real: 3)"}),
        ("progress_bars", "R3-tf-vgg16/test_top1_accuracy/bar@1072", {"printed": "0.9"}),
        ("total_times", "R3-tf/training_time@1158", {"upto": "16", "printed": "15"}),
        (
            "losses_against_accuracies",
            "R3-tf/train_top1_accuracy/epoch-20/bar@906",
            {"printed": "0.9310"},
        ),
        ("losses_against_accuracies", "R3-tf-vgg16/loss/epoch-1/bar@1040", {"printed": "0.0100"}),
        ("sample_sizes", "R3-torch/recall/cat@265", {"printed": "0.5813"}),
        ("harmonic_means", "R3-torch/f1/cat@265", {"printed": "0.5987"}),
        (
            "precision_differences",
            "R3-torch-pretrained/precision_difference/R3-torch@755",
            {"printed": "0.21"},
        ),
        ("averages", "R3-torch/recall/macro avg@273", {"printed": "0.7932"}),
        ("averages", "R3-torch/test_top1_accuracy@272", {"printed": "0.7912"}),
        ("averages", "R3-tf-vgg16/precision/dog@1106", {"printed": "0.8799"}),
        ("predicted_counts", "R3-torch/precision/cat@265", {"printed": "0.6055"}),
        ("parameter_totals", "R2-tf/num_params/conv2@81", {"printed": "614,400"}),
        ("parameter_totals", "R2-tf-big/num_params@62", {"printed": "202,839,953"}),
        ("model_sizes", "R2-tf-big/model_size@62", {"printed": "774.77"}),
    ],
)
def test_check_sees_a_figure_that_was_changed(check, identifier, changes):
    before = {finding.reason for finding in found_by(check, CLAIMS)}
    after = {finding.reason for finding in found_by(check, tampered(CLAIMS, identifier, **changes))}
    assert before != after


@pytest.mark.parametrize(
    ("check", "identifier", "changes"),
    [
        ("time_ratios", "R0-torch/training_time@146", {"printed": "640.00"}),
        ("sample_confidences", "R3-tf-vgg16/sample_confidence@1148", {"printed": "98.3"}),
        ("stopped_runs", "R0-tf/steps_taken/epoch-4@215", {"printed": "1563", "epoch": 10}),
        ("never_learned", "R0-torch/loss/epoch-9@143", {"printed": "1.9"}),
        (
            "test_above_validation",
            "R2-tf-big/eval_top1_accuracy/epoch-20@202",
            {"printed": "0.9745"},
        ),
        ("measured_images", "R2-tf-big/test_top1_accuracy@62", {"printed": "0.9774000000"}),
        ("progress_bars", "R3-tf/loss/epoch-20@910", {"printed": "0.0473"}),
        ("resized_datasets", "R0-tf/machine_memory@32", {"printed": "64"}),
    ],
)
def test_check_is_silent_about_a_figure_that_was_put_right(check, identifier, changes):
    changed = tampered(CLAIMS, identifier, **changes)
    assert len(found_by(check, changed)) == len(found_by(check, CLAIMS)) - 1


def verdict_of(root, identifier):
    return judged_claim(root, identifier).verdict


@pytest.mark.parametrize(
    ("accuracy", "verdict"),
    [
        (0.7922, "reproduced"),
        (0.80, "reproduced"),
        (0.81, "not reproduced"),
        (0.1, "not reproduced"),
    ],
)
def test_run_outside_the_interval_is_not_reproduced(tmp_path, accuracy, verdict):
    write_experiment(tmp_path, "R3-torch", accuracy=accuracy)
    assert verdict_of(tmp_path, "R3-torch/test_top1_accuracy@226") == verdict


@pytest.mark.parametrize(
    "changes",
    [{"budget": "hours"}, {"budget": "minutes"}, {"status": "interrupted"}, {"status": None}],
    ids=str,
)
def test_run_that_is_not_the_reports_reproduces_nothing(tmp_path, changes):
    write_experiment(tmp_path, "R3-torch", accuracy=0.7922, **changes)
    verdict = verdict_of(tmp_path, "R3-torch/test_top1_accuracy@226")
    assert verdict == "not comparable"


def test_run_in_the_other_framework_is_no_evidence_for_the_reports(tmp_path):
    write_experiment(tmp_path, "R3-torch", framework="tensorflow")
    assert verdict_of(tmp_path, "R3-torch/test_top1_accuracy@226") == "not run"


def test_curve_that_runs_elsewhere_is_not_reproduced(tmp_path):
    published = [2.30, 1.99, 1.63, 1.43, 1.26]
    write_experiment(tmp_path / "near", "R3-torch", losses=published, status=None)
    write_experiment(tmp_path / "far", "R3-torch", losses=[1.9, 1.5, 1.2, 1.1, 1.0], status=None)
    identifier = "R3-torch/loss/epoch-3@178"
    assert verdict_of(tmp_path / "near", identifier) == "reproduced"
    assert verdict_of(tmp_path / "far", identifier) == "not reproduced"


def test_inconsistent_claim_is_not_saved_by_a_run_that_agrees(tmp_path):
    write_experiment(tmp_path, "R0-torch", accuracy=0.7195)
    assert verdict_of(tmp_path, "R0-torch/test_top1_accuracy@318") == "inconsistent"
