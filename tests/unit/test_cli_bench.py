"""What `alexnet bench` refuses before any framework is started."""

import pytest

from alexnet_impl.cli import main

pytestmark = pytest.mark.fast
SAME = "only at the same gated work with the same recipe"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["torch", "tensorflow,precision=bfloat16"], SAME),
        (["torch,work=plain-training", "tensorflow,work=plain-training"], SAME),
        (["torch,work=inference", "tensorflow"], SAME),
        (["torhc"], "Did you mean 'torch'?"),
        (["torch", "torch", "torch"], "one side or two, and was given 3"),
        (["torch,foo=1"], "Unknown recipe field 'foo'"),
        (["torch,compiled"], "'compiled' must read FIELD=VALUE"),
        (["torch", "--work", "trainig"], "Did you mean 'training'?"),
        (["torch", "--rounds", "0"], "max_rounds=0 must be above 0"),
        (["torch", "--margin", "-1"], "margin=-1.0 must not be below 0"),
        (["torch", "--on-collapse", "stop"], "--on-collapse belongs to trainings"),
        (["compare", "nowhere.json", "nowhere.json"], "there is no such file"),
    ],
)
def test_bench_refuses_in_one_line(flags, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *flags]) == 1
    said = capsys.readouterr().err
    assert said.startswith("alexnet: error: ")
    assert said.count("\n") == 1
    assert words in said
    assert not list(tmp_path.iterdir())
