"""assert_parity() with real models: objects of the user's own, functions in shared workers."""

import copy
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hatchling.build import build_wheel

from alexnet_impl.errors import FrameworkError
from alexnet_impl.frameworks import get_framework
from alexnet_impl.testing import assert_parity

pytestmark = [pytest.mark.torch, pytest.mark.tensorflow]
fast, slow = pytest.mark.fast, pytest.mark.slow

ROOT = Path(__file__).parents[2]


# --- model objects in this process ------------------------------------------------------------


def make_net():
    from torch import nn

    convolutions = [nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Dropout(0.5), nn.Linear(48, 5))


def make_port(*, padding="same", epsilon=1e-5, activation="relu"):
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 6, 3)),
            layers.Conv2D(4, 3, padding=padding),
            layers.BatchNormalization(epsilon=epsilon, momentum=0.9),
            layers.Activation(activation),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(5),
        ]
    )


@pytest.fixture
def frameworks():
    """Both adapters, in the order that keeps them apart."""
    return [get_framework(name) for name in ("torch", "tensorflow")]


def state_of(model):
    """Everything of a module that a comparison could change."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        "values": {name: tensor.detach().clone() for name, tensor in tensors.items()},
        "places": {name: tensor.data_ptr() for name, tensor in tensors.items()},
        "types": {name: tensor.dtype for name, tensor in tensors.items()},
        "gradients": {name: parameter.grad for name, parameter in model.named_parameters()},
        "modes": [module.training for module in model.modules()],
    }


@pytest.mark.slow
@pytest.mark.usefixtures("frameworks")
def test_model_objects_are_compared_and_left_as_they_were():
    import torch

    net, port = make_net().to(torch.bfloat16), make_port()
    net[1].eval()
    net(torch.ones(2, 3, 8, 6, dtype=torch.bfloat16)).sum().backward()
    before, weights = state_of(net), copy.deepcopy(port.get_weights())
    record = assert_parity(net, port)
    assert record.holds
    assert record.checks[-1].precision == "float64"
    after = state_of(net)
    for name, tensor in before.pop("values").items():
        assert torch.equal(tensor, after["values"][name]), name
    gradients = before.pop("gradients")
    assert all(gradient is after["gradients"][name] for name, gradient in gradients.items())
    assert gradients["6.weight"] is not None
    assert {key: after[key] for key in before} == before
    for ours, theirs in zip(weights, port.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@fast
def test_module_that_writes_its_own_tensors_has_them_back(frameworks):
    import torch
    from torch import nn

    class Writing(nn.Linear):
        def __init__(self):
            super().__init__(3, 2)
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, rows):
            self.weight.data.mul_(2)
            self.calls.add_(1)
            return super().forward(rows)

    net = Writing()
    weight = net.weight.detach().clone()
    with frameworks[0].borrow_model(net) as borrowed:
        borrowed.model(torch.ones(1, 3))
        assert borrowed.model.calls == 1
    assert torch.equal(net.weight, weight)
    assert net.calls == 0


@slow
@pytest.mark.usefixtures("frameworks")
@pytest.mark.parametrize(
    ("mistake", "first", "remedy"),
    [
        ({"epsilon": 1e-3}, "layers differs at layer 1", "give the layer epsilon=1e-05"),
        ({"activation": "linear"}, "layers differs at the operations", r"add it: ReLU\(\)"),
    ],
)
def test_one_line_break_of_a_model_object_is_named(mistake, first, remedy):
    with pytest.raises(AssertionError, match=f"^{first}(.|\n)*\nremedy  {remedy}\n"):
        assert_parity(make_net(), make_port(**mistake))


@slow
@pytest.mark.usefixtures("frameworks")
def test_subclassed_model_that_was_called_has_an_input_shape():
    import keras

    class Port(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = make_port()

        def call(self, images):
            return self.inner(images)

    port = Port()
    with pytest.raises(AssertionError, match="declares no image size; give it with input_shape="):
        assert_parity(make_net(), port)
    assert assert_parity(make_net(), port, input_shape=(8, 6, 3)).holds
    port(np.zeros((1, 8, 6, 3), np.float32))
    assert assert_parity(make_net(), port).holds


@slow
@pytest.mark.usefixtures("frameworks")
def test_exchanged_models_are_refused():
    with pytest.raises(FrameworkError, match=r"^torch: received a keras.*; give a torch.nn.Module"):
        assert_parity(make_port(), make_net())
    with pytest.raises(FrameworkError, match=r"^tensorflow: received a torch.*; give a Keras 3"):
        assert_parity(make_net(), make_net())


@slow
@pytest.mark.usefixtures("frameworks")
def test_keras_on_another_backend_is_refused(monkeypatch):
    import keras

    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(
        FrameworkError, match="Keras runs on jax in this process; set KERAS_BACKEND"
    ):
        assert_parity(make_net(), make_port())


# --- in a project that has installed the package ----------------------------------------------

NETS = """
from torch import nn

def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
"""
PORT = """
import keras
from words import ACTIVATION

def port(activation=ACTIVATION):
    conv = keras.layers.Conv2D(4, 3, activation=activation)
    layers = [keras.Input((8, 8, 3)), conv, keras.layers.Flatten(), keras.layers.Dense(10)]
    return keras.Sequential(layers)

def forgetful():
    return port(None)
"""
TESTS = """
import pytest
from alexnet_impl.testing import assert_parity
import nets
from small_nets import net

@pytest.mark.parametrize("name", ["port", "forgetful"])
def test_port(parity_workers, name):
    assert_parity(net(), f"small_ports:{name}", workers=parity_workers)

def test_known_mistake(parity_workers):
    names = "small_nets:net", "small_ports:forgetful"
    assert_parity(*names, workers=parity_workers, xfail=["layers", "logits"])

def test_mistake_that_was_corrected(parity_workers):
    assert_parity(net(), "small_ports:port", workers=parity_workers, xfail=["logits"])

def test_documented_failure(parity_workers):
    assert_parity(nets.net(), "port:first_draft", workers=parity_workers)
"""
OUTCOMES = {
    "test_port[port]": "PASSED",
    "test_port[forgetful]": "FAILED",
    "test_known_mistake": "XFAIL",
    "test_mistake_that_was_corrected": "FAILED",
    "test_documented_failure": "FAILED",
    "test_port_computes_what_the_network_computes": "PASSED",
}
DOCUMENTS = (ROOT / "docs" / "parity.md").read_text(encoding="utf-8")
DOCUMENTED = DOCUMENTS.split("### In your own tests")[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the wheel's files, its entry points included, for PYTHONPATH."""
    folder = tmp_path_factory.mktemp("installed")
    here = Path.cwd()
    os.chdir(ROOT)
    try:
        name = build_wheel(str(folder))
    finally:
        os.chdir(here)
    with zipfile.ZipFile(folder / name) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def project(tmp_path, installed):
    """A user's project with sources in src/ and tests beside it; returns how pytest runs in it."""
    shutil.copytree(ROOT / "docs" / "examples" / "port", tmp_path / "src")
    for name, text in {
        "src/small_nets.py": NETS,
        "src/small_ports.py": PORT,
        "src/words.py": 'ACTIVATION = "relu"',
        "tests/test_ports.py": TESTS,
        "tests/test_documented.py": DOCUMENTED.split("```python\n")[1].split("```")[0],
        "pytest.ini": "[pytest]\npythonpath = src\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    outside = {name: os.environ[name] for name in os.environ if not name.startswith("PYTEST_")}

    def run(*arguments, python=("-m", "pytest")):
        return subprocess.run(
            [sys.executable, *python, "-p", "no:cacheprovider", *arguments],
            cwd=tmp_path,
            env={**outside, "PYTHONPATH": str(installed)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


def outcomes_of(done):
    """Name of each test to its outcome, from the summary of -rA."""
    return {
        test: outcome
        for outcome, test in re.findall(r"^([A-Z]+) \S+::(\S+)", done.stdout, re.MULTILINE)
    }


def plain(text):
    """Without line breaks and without measured figures, which differ between machines."""
    return re.sub(r"\d\.\de[+-]\d\d", "#", " ".join(text.split()))


@slow
def test_tests_of_a_project_share_workers_and_write_records(project, tmp_path):
    done = project("-rA", "--parity-report", "records")
    assert outcomes_of(done) == OUTCOMES, done.stdout + done.stderr
    first = "AssertionError: layers differs at the operations between layer 0 and layer 3 (dense in"
    assert f"E       {first} Keras) (PyTorch: relu, flatten; Keras: flatten)\n" in done.stdout
    assert "computes as if the ReLU were missing" in done.stdout
    assert "E       remedy  add it: ReLU()" in done.stdout
    assert "logits holds, and was expected to fail; take it out of xfail" in done.stdout
    assert "alexnet_impl/" not in done.stdout  # no frame of ours
    quoted = DOCUMENTED.split("```text\n")[1].split("```")[0]
    assert plain(quoted) in plain(done.stdout)
    records = {
        path.parent.name: json.loads(path.read_text())
        for path in (tmp_path / "records").glob("*/parity.json")
    }
    assert {name.partition(".py.")[2] for name in records} == set(OUTCOMES)
    imports = [record["environment"]["tensorflow"]["import_s"] for record in records.values()]
    assert sorted(imports)[-2] < 0.1 < max(imports)  # once


@slow
def test_tests_run_under_xdist(project, tmp_path):
    one = "tests/test_ports.py::test_port"
    done = project(one, "-rA", "-n", "2", "--parity-report", "records")
    some = {name: OUTCOMES[name] for name in ("test_port[port]", "test_port[forgetful]")}
    assert outcomes_of(done) == some, done.stdout + done.stderr
    assert len(list((tmp_path / "records").glob("*/parity.json"))) == len(some)


MODULES = """
import json, sys, pytest
before = set(sys.modules)
code = pytest.main(sys.argv[1:])
loaded = [name for name in sys.modules if name.startswith("alexnet_impl")]
heavy = {"numpy", "torch", "tensorflow", "keras"} & (set(sys.modules) - before)
print(json.dumps([code, sorted(loaded), sorted(heavy)]))
"""


@slow
def test_plugin_imports_nothing_where_it_is_not_used(project, tmp_path):
    (tmp_path / "tests" / "test_ports.py").write_text("def test_nothing():\n    pass\n")
    others = ["-p", "no:hypothesispytest", "-p", "no:pytest_benchmark"]
    done = project("tests/test_ports.py", "-q", *others, python=["-c", MODULES])
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert loaded == [0, ["alexnet_impl", "alexnet_impl.testing"], []]


@slow
def test_installed_package_gives_pytest_its_option_and_its_fixture(project):
    assert "--parity-report=DIR" in project("--help").stdout
    assert "\nparity_workers [session scope] -- " in project("--fixtures", "-v").stdout
