"""Every claim stands in its report, word for word; and figures read as they are printed."""

import csv
import os
import re
from pathlib import Path

import pytest

from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS
from alexnet_impl.reproduction.claims.claim import AVERAGES, FILES, Claim
from alexnet_impl.reproduction.claims.queries import CLAIMS, claims_of, curve_claims, final_claims
from alexnet_impl.reproduction.claims.table import COLUMNS, read_claims

pytestmark = pytest.mark.fast

ROOT = Path(__file__).parents[3]
BESIDE = ROOT.parent / "shared" / "reports"

DIGEST = {
    # REPORTS.md's table and what it leaves out: experiment, quantity, figures as printed.
    ("R0-torch", "loss"): {"2.3035", "2.3028"},
    ("R0-torch", "test_top1_accuracy"): {"10.00", "71.95"},
    ("R0-torch", "training_time"): {"692.52", "645.88"},
    ("R0-tf", "loss"): {"2.3400", "2.3030", "2.3028"},
    ("R0-tf", "test_top1_accuracy"): {"10.00"},
    ("R0-tf", "training_time"): {"3897.94"},
    ("R0-tf", "epoch_time"): {"407"},
    ("R0-tf", "evaluation_time"): {"16"},
    ("R0-tf", "evaluation_step_time"): {"51"},
    ("R1-torch", "train_top1_accuracy"): {"76.08"},
    ("R1-torch", "test_top1_accuracy"): {"61.59"},
    ("R1-tf", "train_top1_accuracy"): {"96.32"},
    ("R1-tf", "test_top1_accuracy"): {"80.34"},
    ("R1-torch-pretrained", "test_top1_accuracy"): {"93"},
    ("R1-tf-resnet50", "test_top1_accuracy"): {"67"},
    ("R2-tf-big", "num_params"): {"202,839,952"},
    ("R2-tf-big", "model_size"): {"773.77"},
    ("R2-tf-big", "epoch_time"): {"8"},
    ("R2-tf-big", "train_top1_accuracy"): {"0.9745"},
    ("R2-tf-big", "loss"): {"0.0782"},
    ("R2-tf-big", "eval_top1_accuracy"): {"0.7045"},
    ("R2-tf-big", "eval_loss"): {"1.8938"},
    ("R2-tf-big", "test_top1_accuracy"): {"0.9774082899093628"},
    ("R2-tf-augmented", "epoch_time"): {"2"},
    ("R2-tf-augmented", "test_top1_accuracy"): {"80"},
    ("R2-torch", "test_top1_accuracy"): {"74.00"},
    ("R2-torch", "recall"): {
        *("83.93", "80.00", "68.35", "54.79", "78.18"),
        *("64.41", "82.14", "68.75", "81.03", "78.21"),
    },
    ("R2-torch", "training_time"): {"65"},
    ("R2-torch-pretrained", "test_top1_accuracy"): {"91.77"},
    ("R2-torch-pretrained", "recall"): {
        *("96.43", "100.00", "91.14", "76.71", "96.36"),
        *("88.14", "94.64", "93.59"),
    },
    ("R2-torch-pretrained", "training_time"): {"90"},
    ("R3-torch", "test_top1_accuracy"): {"79.22"},
    ("R3-torch", "training_time"): {"10", "40"},
    ("R3-tf", "loss"): {"2.0359", "0.0473"},
    ("R3-tf", "train_top1_accuracy"): {"0.9850"},
    ("R3-tf", "test_top1_accuracy"): {"80.76", "80.4"},
    ("R3-tf", "step_time"): {"17", "18"},
    ("R3-tf", "evaluation_time"): {"4"},
    ("R3-tf", "evaluation_step_time"): {"8"},
    ("R3-torch-pretrained", "precision_difference"): {"0.11"},
    ("R3-tf-vgg16", "evaluation_time"): {"54"},
    ("R3-tf-vgg16", "evaluation_step_time"): {"160"},
    ("R3-torch-pretrained", "loss"): {"0.6339", "0.0276"},
    ("R3-torch-pretrained", "test_top1_accuracy"): {"91.16"},
    ("R3-torch-pretrained", "training_time"): {"42"},
    ("R3-tf-vgg16", "loss"): {"0.9890", "2.6002e-04"},
    ("R3-tf-vgg16", "test_top1_accuracy"): {"88.93"},
    ("R3-tf-vgg16", "training_time"): {"80"},
    ("R4-torch", "test_top1_accuracy"): {"70"},
    ("R4-tf", "test_top1_accuracy"): {"70"},
    ("R4-torch-pretrained", "test_top1_accuracy"): {"80"},
    ("R4-tf-mobilenetv2", "test_top1_accuracy"): {"85"},
}


@pytest.fixture(scope="session")
def report_lines():
    """The lines of every report, their markup and blanks evened out."""
    folder = Path(os.environ.get("ALEXNET_REPORTS", BESIDE))
    missing = [name for name in FILES.values() if not (folder / name).is_file()]
    if missing:
        pytest.skip(f"needs the reports' texts: set ALEXNET_REPORTS ({missing[0]} is not there)")
    return {
        report: [_even(line) for line in (folder / name).read_text().split("\n")]
        for report, name in FILES.items()
    }


def _even(line):
    return " ".join(re.sub(r"</?b>|—————", " ", line).split())


def test_every_claim_stands_in_its_line(report_lines):
    lost = [
        claim.id
        for claim in CLAIMS
        if claim.quote not in report_lines[claim.report][claim.line - 1]
    ]
    assert lost == []


def test_every_time_of_a_step_is_a_claim_but_those_of_single_predictions(report_lines):
    printed = {
        (report, number, figure)
        for report, lines in report_lines.items()
        for number, line in enumerate(lines, start=1)
        for figure in re.findall(r"(\d+)ms/step", line)
        if not line.startswith("1/1 ")
    }
    steps = ("step_time", "evaluation_step_time")
    claimed = {(c.report, c.line, c.printed) for c in CLAIMS if c.quantity in steps}
    assert printed == claimed


def test_every_figure_stands_in_its_quote_or_is_spelled_out():
    strange = [c.id for c in CLAIMS if c.has_figure and c.printed not in c.quote and not c.says]
    assert strange == []


def test_every_claim_has_a_known_experiment():
    assert {claim.experiment for claim in CLAIMS} <= set(EXPERIMENTS)


@pytest.mark.parametrize(("experiment", "quantity"), DIGEST, ids=lambda part: part)
def test_every_figure_of_the_digest_is_a_claim(experiment, quantity):
    printed = {claim.printed for claim in claims_of(experiment, quantity)}
    assert DIGEST[experiment, quantity] <= printed


@pytest.mark.parametrize(
    ("experiment", "num_epochs"),
    [
        *(("R0-torch", 10), ("R0-tf", 4), ("R3-torch", 20), ("R3-tf", 20)),
        *(("R3-torch-pretrained", 20), ("R3-tf-vgg16", 10)),
    ],
)
def test_curve_has_every_epoch(experiment, num_epochs):
    assert [c.epoch for c in curve_claims(experiment)] == list(range(1, num_epochs + 1))


@pytest.mark.parametrize("experiment", ["R3-torch", "R3-torch-pretrained", "R3-tf-vgg16"])
@pytest.mark.parametrize("quantity", ["precision", "recall", "f1"])
def test_classification_report_has_every_class_and_both_averages(experiment, quantity):
    rows = claims_of(experiment, quantity)
    assert len({claim.of for claim in rows}) == 10 + len(AVERAGES)


def figure(printed, **changes):
    plain = {"experiment": "R0-tf", "quantity": "loss", "line": 1, "quote": printed}
    return Claim(printed=printed, **plain | changes)


@pytest.mark.parametrize(
    ("claim", "value", "low", "high"),
    [
        (figure("74.00", unit="%"), 0.74, 0.73995, 0.74005),
        (figure("93", unit="%"), 0.93, 0.925, 0.935),
        (figure("70", upto="75", unit="%"), 0.725, 0.695, 0.755),
        (figure("70", unit="%", about=2.5), 0.70, 0.675, 0.725),
        (figure("8.5145e-04"), 8.5145e-4, 8.51445e-4, 8.51455e-4),
        (figure("202,839,952"), 202_839_952, 202_839_951.5, 202_839_952.5),
        (figure("65", unit="min"), 3900, 3870, 3930),
    ],
    ids=lambda part: part.text if isinstance(part, Claim) else "",
)
def test_figure_stands_for_all_that_rounds_to_it(claim, value, low, high):
    assert claim.value == pytest.approx(value)
    assert (claim.low, claim.high) == pytest.approx((low, high))


def test_figures_of_an_epoch_that_did_not_end_are_of_the_steps_that_it_had():
    (stop,) = [claim for claim in CLAIMS if claim.quantity == "steps_taken"]
    partial = [claim for claim in CLAIMS if claim.steps is not None]
    assert {claim.quantity for claim in partial} == {"train_top1_accuracy", "loss"}
    for claim in partial:
        assert (claim.experiment, claim.epoch) == (stop.experiment, stop.epoch)
        assert claim.steps == stop.value
        assert claim.what.endswith(", epoch 4 to step 1,279")


def test_final_claims_leave_out_progress_bars_epochs_and_other_runs():
    assert {c.printed for c in final_claims("R3-tf", "test_top1_accuracy")} == {"80.4", "80.76"}
    assert {c.printed for c in final_claims("R3-torch", "training_time")} == {"10"}


ROW = {"experiment": "R1-tf", "quantity": "loss", "line": "9", "printed": "0.5", "quote": "0.5"}


def written(path, *rows, columns=COLUMNS):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        file.write("# a comment\n")
        writer.writerows(rows)
    return path


def test_row_of_the_file_is_a_claim(tmp_path):
    path = written(tmp_path / "claims.csv", ROW | {"epoch": "3", "about": "1.5", "from_bar": "yes"})
    (claim,) = read_claims(path)
    assert claim == Claim(
        experiment="R1-tf",
        quantity="loss",
        line=9,
        printed="0.5",
        quote="0.5",
        epoch=3,
        about=1.5,
        from_bar=True,
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantity": "losses"}, "quantity='losses' is none of"),
        ({"unit": "hours"}, "unit='hours' is none of"),
        ({"from_bar": "true"}, "from_bar='true' is none of"),
        ({"experiment": "R9-tf"}, "experiment='R9-tf' belongs to none of"),
        ({"line": "nine"}, "invalid literal for int"),
        ({"printed": "0,5,x"}, "printed='0,5,x' is not a number"),
        (
            {"line": "", "quote": ""},
            "missing 2 required keyword-only arguments",
        ),
    ],
    ids=str,
)
def test_row_that_is_no_claim_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        read_claims(written(tmp_path / "claims.csv", ROW | changes))


def test_rows_with_one_id_and_other_columns_are_refused(tmp_path):
    with pytest.raises(ValueError, match="two rows have the id R1-tf/loss@9"):
        read_claims(written(tmp_path / "claims.csv", ROW, ROW))
    with pytest.raises(ValueError, match="valid are"):
        read_claims(written(tmp_path / "claims.csv", ROW, columns=COLUMNS[:-1]))
