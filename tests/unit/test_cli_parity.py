"""What `alexnet parity` refuses before any framework is started."""

import pytest

from alexnet_impl.cli import main

pytestmark = pytest.mark.fast
PREPROCESSING = ["--torch-preprocess", "a:b", "--tensorflow-preprocess", "c:d"]
PAIR = ["--torch", "a:b", "--tensorflow", "c:d"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--steps", "3"], "--steps 3: must be at least 4"),
        (["--on-collapse", "stop"], "--on-collapse belongs to trainings"),
        ([*PAIR, "--variant", "cifar-dropout"], "bring their own network"),
        ([*PAIR, "--recipe.epochs", "7"], "bring their own network"),
        ([*PAIR, "--steps", "7"], "bring their own network"),
        (["--torch", "a:b"], "--torch and --tensorflow belong together"),
        (["--tensorflow", "a:b"], "--torch and --tensorflow belong together"),
        (["--torch-preprocess", "a:b"], "--torch-preprocess and --tensorflow-preprocess belong"),
        (["--images", "folder"], "--images belongs to --torch-preprocess"),
        ([*PREPROCESSING, "--variant", "cifar-dropout"], "are compared without a variant"),
        (["--names", "a=b"], "--names, --copy-weights, --inputs and the two training"),
        (
            ["--copy-weights", "always"],
            "--names, --copy-weights, --inputs and the two training",
        ),
        (["--interpreter", "torch"], "must read FRAMEWORK=PYTHON"),
        (["--interpreter", "jax=python"], "jax"),
        (["--interpreter", "torch=no-such-python"], "is not an executable program"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_flags_that_make_no_sense_end_in_one_line(flags, words, capsys):
    assert main(["parity", *flags]) == 1
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1
