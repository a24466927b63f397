"""What every error promises: one base, the received name, the nearest one."""

import errno
from dataclasses import fields
from types import SimpleNamespace

import pytest

from alexnet_impl import errors
from alexnet_impl.cli.output import Output
from alexnet_impl.errors import (
    AlexNetError,
    RecipeError,
    UnknownNameError,
    closed_pipe_ignored,
    nearest,
)
from alexnet_impl.processes.launch import WorkerProcess
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.training.observers import JsonObserver

pytestmark = pytest.mark.fast

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, Warning)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_errors_all_have_one_base(kind):
    assert issubclass(kind, AlexNetError)


def test_recipe_error_is_no_value_error():
    """Tyro turns a ValueError into a box of its own and exit code 2."""
    assert not issubclass(RecipeError, ValueError)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torhc", "Unknown framework 'torhc'. Did you mean 'torch'? Known: torch, tensorflow."),
        ("Torch", "Unknown framework 'Torch'. Did you mean 'torch'? Known: torch, tensorflow."),
        ("xyz", "Unknown framework 'xyz'. Known: torch, tensorflow."),
        ("", "Unknown framework ''. Known: torch, tensorflow."),
    ],
    ids=["a slip", "another case", "nothing near", "empty"],
)
def test_unknown_name_offers_the_nearest_and_lists_the_known(name, message):
    error = UnknownNameError("framework", name, ("torch", "tensorflow"))
    assert str(error) == error.message == message


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("lr", "learning_rate"),
        ("wd", "weight_decay"),
        ("bs", "global_batch_size"),
        ("batch-size", "global_batch_size"),
        ("learning-rat", "learning_rate"),
        ("EPOCHS", "epochs"),
        ("dropout", "dropout_masks"),
        ("q", None),
        ("zzzzzz", None),
    ],
)
def test_nearest_knows_initials_parts_and_slips(name, meant):
    assert nearest(name, [field.name for field in fields(Recipe)]) == meant


def test_suggestion_can_be_given():
    error = UnknownNameError("variant", "x", ("cifar", "torchvision"), near="torchvision")
    assert "Did you mean 'torchvision'?" in str(error)


def test_unknown_name_reads_without_the_quotes_of_a_key_error():
    with pytest.raises(KeyError, match=r"^Unknown variant 'b'\. Known: a\.$"):
        raise UnknownNameError("variant", "b", iter(["a"]))


CLOSED = [BrokenPipeError(), OSError(errno.EINVAL, "Invalid argument")]
FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("error", CLOSED, ids=["elsewhere", "Windows"])
def test_closed_pipe_is_ignored_on_any_system(error):
    with closed_pipe_ignored():
        raise error


def test_full_disk_is_no_closed_pipe():
    with pytest.raises(OSError, match="No space"), closed_pipe_ignored():
        raise FULL


class Stream:
    """A stream of an error, above a file that is open."""

    def __init__(self, file, error):
        self.fileno, self.error = file.fileno, error

    def write(self, _):
        raise self.error

    flush = write


@pytest.mark.parametrize("error", [*CLOSED, FULL], ids=["elsewhere", "Windows", "full disk"])
def test_command_outlives_its_output_and_fails_for_a_full_disk_only(tmp_path, error):
    with (tmp_path / "file").open("w") as file:
        output = Output(Stream(file, error))
        assert output.write("line\n") == 5
        assert output.failure is (error if error is FULL else None)


@pytest.mark.parametrize("error", CLOSED, ids=["elsewhere", "Windows"])
def test_training_outlives_the_reader_of_its_events(tmp_path, error):
    with (tmp_path / "file").open("w") as file:
        JsonObserver(Stream(file, error)).send("done")


@pytest.mark.parametrize("error", CLOSED, ids=["elsewhere", "Windows"])
def test_request_to_a_worker_that_has_ended_is_no_error(tmp_path, error):
    with (tmp_path / "file").open("w") as file:
        process = SimpleNamespace(stdin=Stream(file, error))
        WorkerProcess("torch", process, tmp_path / "log").send({})
