"""What the reports say against themselves comes out of the checks, and with the right numbers."""

import re
from dataclasses import replace

import pytest

from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS
from alexnet_impl.reproduction.checks import CHECKS, find_all
from alexnet_impl.reproduction.checks.class_tables import samples_of, smallest_sample
from alexnet_impl.reproduction.checks.comparability import differences
from alexnet_impl.reproduction.checks.single_claims import ROWS
from alexnet_impl.reproduction.checks.sizes import resized_bytes, resized_text
from alexnet_impl.reproduction.claims.queries import CLAIMS, claims_of

pytestmark = pytest.mark.fast


@pytest.fixture(scope="session")
def findings():
    return find_all()


def reasons(findings, check, experiment):
    return [f.reason for f in findings if f.check == check and f.claims[0].experiment == experiment]


@pytest.mark.parametrize(
    ("check", "experiment", "words"),
    [
        # The items of REPORTS.md's last section, in its order.
        ("two_values", "R0-torch", "10.00 % or 71.95 %"),
        ("two_values", "R0-torch", "692.52 s or 645.88 s"),
        ("never_learned", "R0-torch", "ln 10 is 2.3026"),
        ("stopped_runs", "R0-tf", "step 1279 of 1563 in epoch 4 of 10, after about 1,493 s"),
        ("test_above_validation", "R2-tf-big", "97.74 % on the test set and 70.45 %"),
        ("comparisons", "R1-tf", "variant: caffenet-like / slim"),
        ("comparisons", "R3-tf", "initializer: keras-default / torch-default"),
        ("comparisons", "R3-tf-vgg16", "variant: vgg16 / torchvision"),
        ("comparisons", "R4-torch-pretrained", "weights: torchvision:IMAGENET1K_V1 / drawn"),
        ("sample_sizes", "R2-torch", "airplane 83.93 = 47/56"),
        ("sample_sizes", "R2-torch", "cat 54.79 = 40/73"),
        ("sample_sizes", "R2-torch", "automobile 80.00 = 44/55"),
        ("sample_sizes", "R2-torch", "horse 68.75 = 44/64"),
        ("sample_sizes", "R2-torch-pretrained", "automobile 100.00 = 55/55"),
        ("two_values", "R3-tf", "80.4 % or 80.76 %"),
        # What else is in the files.
        ("measured_images", "R2-tf-big", "43,913 of 44,928 images, 351 batches of 128"),
        ("total_times", "R2-tf-big", "20 epochs of 8 min are 9,600 s (160 min)"),
        ("total_times", "R3-tf-vgg16", "3,591 s (60 min), the total is given as 1 h 20 min"),
        ("time_ratios", "R0-tf", "(line 320) are 6.04 times 645.88 s (line 320)"),
        ("time_ratios", "R0-tf", "5.63 times 692.52 s (line 146): the contradiction is that of"),
        ("two_values", "R0-tf", "symmetric or unit"),
        ("averages", "R3-tf", "the macro average is 0.8070 and the weighted one 0.8076"),
        ("progress_bars", "R3-tf", "loss, epoch 20: the progress bar shows 0.0473"),
        ("never_learned", "R0-torch", "71.95 % and PyTorch's loss falls"),
        ("never_learned", "R0-torch", "both networks answer class 6"),
        ("sample_images", "R0-torch", "an image of that class is shown in line 282: being right"),
        ("sample_confidences", "R3-tf-vgg16", "23.2 % is e/(e + 9) = 23.197 %"),
        ("sample_confidences", "R3-tf-vgg16", "(line 1022)"),
        ("comparisons", "R3-torch-pretrained", "input_size: 224 / 32; resize_to: 256 / no crop"),
        ("comparisons", "R4-torch-pretrained", "input_size: 224 / 32"),
        ("comparisons", "R3-tf", "shuffle_buffer: 1000 / a permutation"),
        ("progress_bars", "R3-tf-vgg16", "the progress bar shows 0.8866"),
        ("parameter_totals", "R2-tf-big", "202,839,952 parameters need 1000 outputs"),
        ("resized_datasets", "R0-tf", "37.1 GB of 32 GB"),
        ("resized_datasets", "R4-tf-vgg16", "30.1 GB"),
        ("comparisons", "R2-tf-augmented", "no accuracy of R2-tf is given"),
    ],
)
def test_finding_comes_out_with_its_numbers(findings, check, experiment, words):
    assert any(words in reason for reason in reasons(findings, check, experiment))


def test_converted_weights_are_explained_by_the_permutation():
    assert "9,216 inputs in the wrong order" in EXPERIMENTS["R2-tf-converted"].mistake


def test_what_agrees_is_not_reported(findings):
    found = set(CHECKS) - {finding.check for finding in findings}
    assert found == {
        "losses_against_accuracies",
        "harmonic_means",
        "precision_differences",
        "predicted_counts",
        "model_sizes",
    }
    assert reasons(findings, "averages", "R3-torch") == []
    assert reasons(findings, "total_times", "R3-tf") == []
    assert reasons(findings, "two_values", "R4-torch") == []


def test_evidence_of_a_finding_is_not_accused(findings):
    (found,) = [f for f in findings if f.check == "never_learned"]
    assert {claim.quantity for claim in found.claims} == {"test_top1_accuracy", "conclusion"}
    assert {claim.quantity for claim in found.against} == {"loss", "sample_prediction"}
    assert {claim.of for claim in found.claims} == {"", "loss falls"}


def test_what_a_dead_network_was_right_about_by_chance_is_not_accused(findings):
    (claim,) = [claim for claim in CLAIMS if claim.of == "sample image"]
    assert [f.kind for f in findings if claim in f.claims] == ["explained"]


@pytest.mark.parametrize("check", ["measured_images", "test_above_validation"])
def test_loss_of_the_same_evaluation_is_accused_with_the_accuracy(findings, check):
    (found,) = [f for f in findings if f.check == check]
    assert [claim.quantity for claim in found.claims] == ["test_top1_accuracy", "test_loss"]
    assert found.claims[1].text == "0.0668"


def test_no_reader_is_shown_a_bare_none(findings):
    assert [f.reason for f in findings if "None" in f.reason] == []


def test_percentages_are_written_in_one_way(findings):
    assert [f.reason for f in findings if re.search(r"\d%", f.reason)] == []


def test_one_sample_gives_what_both_networks_have_of_a_class():
    both = [c for c in CLAIMS if c.report == "R2" and c.quantity == "recall" and c.of == "dog"]
    assert [claim.printed for claim in both] == ["64.41", "88.14"]
    assert smallest_sample(both) == 59
    assert smallest_sample(claims_of("R2-torch", "recall")[:1]) == 56


def test_sample_of_a_class_is_not_much_smaller_than_those_of_the_others():
    sizes = samples_of("R2", CLAIMS)
    assert (sizes["automobile"], sizes["horse"], sizes["airplane"]) == (55, 64, 56)
    assert min(sizes.values()) == 55


def test_memory_is_written_out():
    assert resized_bytes(50_000, 227) == 30_917_400_000
    assert resized_text(50_000, 227) == "50,000 x 227 x 227 x 3 x 4 bytes = 30.9 GB"


def test_fields_that_say_nothing_are_not_told_apart():
    found = differences(EXPERIMENTS["R4-tf"], EXPERIMENTS["R4-torch"])
    assert [text.partition(":")[0] for text in found] == [
        "epsilon",
        "epsilon_formula",
        "initializer",
    ]
    found = differences(EXPERIMENTS["R3-tf"], EXPERIMENTS["R3-torch"])
    assert [text.partition(":")[0] for text in found] == ["shuffle_buffer", "initializer"]
    assert differences(EXPERIMENTS["R3-tf"], EXPERIMENTS["R3-tf"]) == []


def test_momentum_formula_is_told_where_the_rate_changes():
    one = EXPERIMENTS["R3-tf"]
    other = replace(one, recipe=replace(one.recipe, momentum_formula="torch"))
    assert differences(one, other) == []
    cosine = [replace(e, recipe=replace(e.recipe, schedule="cosine")) for e in (one, other)]
    assert differences(*cosine) == ["momentum_formula: keras / torch"]


def test_claims_of_every_row_are_published():
    known = {claim.id for claim in CLAIMS}
    assert {key for row in ROWS for key in (row.claim, *row.evidence)} <= known
