"""docs/reports.md has what the checks find, and as many claims as there are."""

from pathlib import Path

import pytest

import alexnet_impl
from alexnet_impl.report.ledger.terminal import markdown_findings
from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS, PAIRS
from alexnet_impl.reproduction.catalogue.transfer import R4_BATCH
from alexnet_impl.reproduction.checks import CHECKS, find_all
from alexnet_impl.reproduction.claims.queries import CLAIMS
from alexnet_impl.reproduction.verdicts.answers import ANSWERS

pytestmark = pytest.mark.fast

ROOT = Path(alexnet_impl.__file__).parents[1]
PAGE = (ROOT / "docs" / "reports.md").read_text()


def test_page_has_the_generated_table_of_findings():
    assert markdown_findings(find_all()) in PAGE


def test_page_and_readme_know_how_many_claims_there_are():
    assert f"{len(CLAIMS)} of them" in PAGE
    assert f"{len(CLAIMS)} figures" in (ROOT / "README.md").read_text()


TEXT = " ".join(PAGE.split())
ANSWER_OF = {answer.report: answer.answer for answer in ANSWERS}


def test_what_a_report_only_suggests_is_not_said_for_certain():
    """R0's aside names no framework (line 36), and R4 no size of a memory."""
    assert "as line 36 suggests" in ANSWER_OF["R0"]
    assert "on a machine with less" in ANSWER_OF["R4"]
    assert "of which framework and run it does not say" in TEXT
    assert "how much it had" in TEXT


def test_no_report_is_called_the_only_one_with_one_network():
    same = [a for a, b in PAIRS if EXPERIMENTS[a].variant == EXPERIMENTS[b].variant]
    assert same == ["R3-torch", "R4-torch"]
    assert "one report whose" not in ANSWER_OF["R3"] + TEXT


def test_batches_of_r4_are_unknown_of_its_scratch_networks_alone():
    batches = {e.id: e.recipe.global_batch_size for e in EXPERIMENTS.values() if e.report == "R4"}
    assert (batches["R4-tf-mobilenetv2"], batches["R4-tf-vgg16"]) == (8, 128)
    unsaid = {name for name in batches if R4_BATCH in EXPERIMENTS[name].assumptions}
    assert unsaid == {"R4-torch", "R4-tf", "R4-torch-pretrained"}
    assert "Of its scratch networks it gives neither widths nor a batch size" in ANSWER_OF["R4"]


def test_death_of_r0_torch_is_told_as_its_page_tells_it():
    page = (ROOT / "docs" / "collapse.md").read_text()
    assert "death in PyTorch was not reproduced at full size: one seed, 60 steps" in page
    assert "R0-torch did not in the 60 steps of one seed" in TEXT


def test_every_report_has_an_answer_that_rests_on_what_exists():
    assert [answer.report for answer in ANSWERS] == ["R0", "R1", "R2", "R3", "R4"]
    checks = {check.__name__ for check in CHECKS}
    for answer in ANSWERS:
        for name in answer.rests_on:
            assert name in checks or (ROOT / name).is_file(), name
