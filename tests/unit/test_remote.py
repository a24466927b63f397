"""Calls to a worker process: what is said when it dies, and what it leaves behind."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from support.fake_worker import fake_python, shell_script

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.errors import RunError
from alexnet_impl.network.spec import Dense, Flatten, Spec
from alexnet_impl.processes.remote_trainer import remote_side
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights.initializers import initial_weights

pytestmark = pytest.mark.fast

SPEC = Spec(
    name="linear",
    input_shape=(3, 4, 4),
    layers=(Flatten(name="flatten"), Dense(name="fc1", out_features=10)),
)
SIDES = 5
ANSWER = '{"values": null, "arrays": ""}'
STARTS = ("read request", f"echo '{ANSWER}'")


@pytest.fixture
def script(tmp_path):
    """An executable that stands for a side's Python, from the lines of a shell script."""
    return lambda *lines: shell_script(tmp_path, *lines)


def opened(interpreter):
    return remote_side("torch", DataConfig(), device="cpu", interpreter=interpreter)


@pytest.mark.slow
def test_side_that_is_killed_in_a_step_is_reported_with_its_last_words(tmp_path):
    message = r"^torch: the worker process was killed by signal 9: no luck today$"
    with (
        pytest.raises(RunError, match=message),
        opened(fake_python(tmp_path, "dies")) as side,
    ):
        train_two_steps(side)


def train_two_steps(side):
    recipe = Recipe()
    images, labels = np.zeros((2, 4, 4, 3), np.uint8), np.arange(2)
    trainer = side.make(SPEC, recipe, initial_weights(SPEC, recipe))
    (values,) = trainer.read([trainer.train_step(images, labels, 0.1)])
    assert values.loss > 0
    trainer.train_step(images, labels, 0.1)


@pytest.mark.parametrize(
    "dies",
    [
        ("read request", "exit 3"),
        ("read request", "echo a library says hello", "exit 3"),
        ("read request", "printf '{\"values\": 1'", "exit 3"),
        ("read request", "kill -9 $$"),
    ],
    ids=["before its answer", "after noise", "within its answer", "killed"],
)
def test_side_that_dies_in_a_call_is_reported_in_one_line(script, dies):
    how = "was killed by signal 9" if "kill -9 $$" in dies else "ended with code 3"
    interpreter = script(*STARTS, "echo out of memory >&2", *dies)
    with (
        pytest.raises(RunError, match=f"^torch: the worker process {how}: out of memory$"),
        opened(interpreter) as side,
    ):
        side.fingerprint()


def test_side_that_is_gone_is_reported_at_every_call(script):
    """Nobody reads its pipe any more."""
    message = r"^torch: the worker process ended with code 3: it printed nothing$"
    with opened(script(*STARTS, "exit 3")) as side:
        side.channel.worker.process.wait()
        for _ in range(2):
            with pytest.raises(RunError, match=message):
                side.fingerprint()


@pytest.mark.parametrize(
    ("lines", "num_failures"),
    [
        ((f"while read request; do echo '{ANSWER}'; done",), 0),
        ((*STARTS, "read request", "exit 3"), SIDES),
        (("exit 3",), SIDES),
        (("read request", 'echo \'{"error": "no"}\'', "cat > /dev/null"), SIDES),
        ((), SIDES),
    ],
    ids=["lives", "dies in a call", "dies at once", "refuses", "is not there"],
)
def test_sides_leave_no_file_open_and_no_folder_behind(
    script, lines, num_failures, tmp_path, monkeypatch
):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    interpreter = script(*lines) if lines else str(tmp_path / "python")
    before, failures = open_files(), []
    for _ in range(SIDES):
        try:
            with opened(interpreter) as side:
                side.channel.ask("train_step", {}, {"images": np.zeros(3)})
        except RunError as error:
            failures.append(str(error))
    assert open_files() == before
    assert len(failures) == num_failures
    assert list(folder.iterdir()) == []


def open_files():
    return sorted(path.name for path in Path("/dev/fd").iterdir())
