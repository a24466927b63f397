"""A user's own pair, each model in a process of its own."""

import pytest

from alexnet_impl.errors import RunError
from alexnet_impl.ports.request import PairRequest
from alexnet_impl.ports.user_pair import compare_pair

pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.tensorflow]

NET = """
import torch
from torch import nn

def net():
    print('{"error": "what a user prints is no answer"}')
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
"""

PORT = """
import subprocess
import sys
import keras

def port(activation="relu"):
    assert not {"sklearn", "matplotlib"} & set(sys.modules), "the worker has imported too much"
    import sklearn
    subprocess.run(["echo", '{"error": "nor is what another process prints"}'], check=True)
    conv = keras.layers.Conv2D(4, 3, activation=activation)
    layers = [keras.Input((8, 8, 3)), conv, keras.layers.Flatten(), keras.layers.Dense(10)]
    return keras.Sequential(layers)

def forgetful():
    return port(None)

def reads():
    return input()
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The user stands in one folder, and one of the files lies in another."""
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "ports").mkdir()
    (tmp_path / "ports" / "port.py").write_text(PORT)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("home")
def test_pair_is_compared_across_processes():
    seen = []
    request = PairRequest(torch="net:net", tensorflow="ports/port.py:port")
    record = compare_pair(request, announce=seen.append)
    assert record.holds
    assert tuple(seen) == record.checks
    assert [check.name for check in seen][-1] == "steps"
    assert record.environment["torch"]["torch"]
    assert record.environment["tensorflow"]["keras"]


@pytest.mark.usefixtures("home")
def test_mistake_is_found_across_processes():
    request = PairRequest(torch="net:net", tensorflow="ports/port.py:forgetful")
    first = compare_pair(request).failures[0]
    assert first.where.startswith("the operations between layer 0 and layer 3 (dense in Keras)")
    assert first.causes[0].what == "the ReLU were missing"


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("tensorflow", "message"),
    [
        ("ports.port:gone", "tensorflow: ports.port:gone: ports.port has no function gone"),
        ("ports.port:reads", "tensorflow: ports.port:reads: it raised EOFError"),
    ],
)
def test_function_that_gives_no_model_is_refused_in_the_workers_words(tensorflow, message):
    with pytest.raises(RunError, match=message):
        compare_pair(PairRequest(torch="net:net", tensorflow=tensorflow))
