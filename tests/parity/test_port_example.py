"""The documented example of a port: what docs/parity.md quotes is what comes out."""

import re
import sys
from pathlib import Path

import pytest

from alexnet_impl.frameworks import get_framework
from alexnet_impl.ports.request import PairRequest
from alexnet_impl.ports.user_pair import compare_models
from alexnet_impl.report.parity.terminal import check_lines

pytestmark = [pytest.mark.torch, pytest.mark.tensorflow]
slow = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"
FOLDER = DOCS / "examples" / "port"
NET = "nets:net"
MISTAKES = {
    "architecture": ["in training dropout before classifier.1"],
    "layers": [
        "features.0's padding were TensorFlow's 'same', (1, 2)",
        "the alpha of the local response normalisation were not divided",
    ],
    "logits": ["its last layer were followed by a softmax"],
}
"""What each check of the first draft says."""


@pytest.fixture
def compare():
    """Compare PyTorch's net with a function of port.py, in this process."""

    def compare(function):
        models = [
            get_framework(name).load_model(place, FOLDER)
            for name, place in (("torch", NET), ("tensorflow", f"port:{function}"))
        ]
        return compare_models(*models, PairRequest(torch=NET, tensorflow=f"port:{function}"))

    yield compare
    for name in ("nets", "port"):
        sys.modules.pop(name, None)


def plain(text):
    """Without line breaks and without measured figures, which differ between machines."""
    return re.sub(r"\d\.\de[+-]\d\d", "#", " ".join(text.split()))


def quoted(function):
    """What docs/parity.md says that a command prints."""
    text = (DOCS / "parity.md").read_text(encoding="utf-8")
    start = text.index(f"$ alexnet parity --torch {NET} --tensorflow port:{function}\n")
    return plain(re.split(r"\n\$ |\n```", text[start + 1 :])[0])


@slow
def test_finished_port_holds(compare):
    record = compare("finished")
    assert [str(check) for check in record.failures] == []
    assert [check.name for check in record.checks][-1] == "steps"
    assert f"All {len(record.checks)} checks hold." in quoted("finished")


@slow
def test_all_mistakes_of_the_draft_are_found_in_one_comparison_and_quoted(compare):
    record = compare("first_draft")
    assert [check.name for check in record.failures] == list(MISTAKES)
    for check in record.failures:
        causes = zip(check.causes, MISTAKES[check.name], strict=True)
        assert [cause.what.startswith(what) for cause, what in causes] == [True] * len(check.causes)
        for line in check_lines(check):
            assert plain(line) in quoted("first_draft")
