"""What `alexnet parity` refuses before any framework is started."""

import pytest

from alexnet_impl.cli import main

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--steps", "0"], "--steps 0: must be at least 1."),
        (["--torch", "a:b"], "--torch and --tensorflow belong together"),
        (["--tensorflow", "a:b"], "--torch and --tensorflow belong together"),
        (["--names", "a=b"], "--names and --copy-weights belong to"),
        (["--copy-weights", "always"], "--names and --copy-weights belong to"),
        (["--interpreter", "torch"], "must read FRAMEWORK=PYTHON"),
        (["--interpreter", "jax=python"], "jax"),
        (["--interpreter", "torch=no-such-python"], "is no program that can be run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_flags_that_make_no_sense_end_in_one_line(flags, words, capsys):
    assert main(["parity", *flags]) == 1
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1
