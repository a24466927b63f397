"""docs/reports.md has the findings of the checks, and the number of claims."""

from pathlib import Path

import pytest

import alexnet_impl
from alexnet_impl.report.ledger.view import markdown_findings
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


def test_page_knows_how_many_claims_there_are():
    assert f"{len(CLAIMS)} claims" in PAGE


def test_pairs_of_one_network_are_those_of_r3_and_r4():
    same = [a for a, b in PAIRS if EXPERIMENTS[a].variant == EXPERIMENTS[b].variant]
    assert same == ["R3-torch", "R4-torch"]


def test_batches_of_r4_are_unknown_of_its_scratch_networks_alone():
    batches = {e.id: e.recipe.global_batch_size for e in EXPERIMENTS.values() if e.report == "R4"}
    assert (batches["R4-tf-mobilenetv2"], batches["R4-tf-vgg16"]) == (8, 128)
    unsaid = {name for name in batches if R4_BATCH in EXPERIMENTS[name].assumptions}
    assert unsaid == {"R4-torch", "R4-tf", "R4-torch-pretrained"}


def test_every_report_has_an_answer_that_rests_on_what_exists():
    assert [answer.report for answer in ANSWERS] == ["R0", "R1", "R2", "R3", "R4"]
    for answer in ANSWERS:
        for name in answer.rests_on:
            assert name in CHECKS or (ROOT / name).is_file(), name
