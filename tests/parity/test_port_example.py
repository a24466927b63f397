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
BROKEN = {
    "first_draft": ("architecture", "in training dropout before classifier.1"),
    "with_dropout": ("layers", "features.0's padding were TensorFlow's 'same', (1, 2)"),
    "with_padding": ("layers", "the alpha of the local response normalisation were not divided"),
    "with_alpha": ("logits", "its last layer were followed by a softmax"),
}
"""The Keras function: the check that fails first, and what is said."""


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
@pytest.mark.parametrize("function", BROKEN)
def test_mistake_is_found_and_quoted(compare, function):
    record = compare(function)
    check, what = BROKEN[function]
    first = record.failures[0]
    assert first.name == check
    assert what in first.causes[0].what
    for line in check_lines(first):
        assert plain(line) in quoted(function)
