"""docs/reports.md has what the checks find, and as many claims as there are."""

from pathlib import Path

import pytest

import alexnet_impl
from alexnet_impl.experiments.answers import ANSWERS
from alexnet_impl.experiments.claims import CLAIMS
from alexnet_impl.experiments.consistency import CHECKS, find_all
from alexnet_impl.report.ledger import markdown_findings

pytestmark = pytest.mark.fast

ROOT = Path(alexnet_impl.__file__).parents[1]
PAGE = (ROOT / "docs" / "reports.md").read_text()


def test_page_has_the_generated_table_of_findings():
    assert markdown_findings(find_all()) in PAGE


def test_page_and_readme_know_how_many_claims_there_are():
    assert f"{len(CLAIMS)} of them" in PAGE
    assert f"{len(CLAIMS)} figures" in (ROOT / "README.md").read_text()


def test_every_report_has_an_answer_that_rests_on_what_exists():
    assert [answer.report for answer in ANSWERS] == ["R0", "R1", "R2", "R3", "R4"]
    checks = {check.__name__ for check in CHECKS}
    for answer in ANSWERS:
        for name in answer.rests_on:
            assert name in checks or (ROOT / name).is_file(), name
