"""`alexnet compare` as a whole: the NumPy framework on both sides, each in a process of its own."""

import pytest
from support import fake_framework
from support.fake_worker import fake_python

from alexnet_impl.cli import commands, main
from alexnet_impl.runs.folder import RunFolder

FLAGS = (
    *("--variant", "linear", "--dataset", "synthetic", "--image-size", "4"),
    *("--train-images", "50", "--test-images", "30", "--recipe.epochs", "2"),
)


@pytest.mark.fast
def test_comparison_that_was_killed_before_its_first_run_is_resumed(tmp_path, monkeypatch, capsys):
    """And one that was killed even before is started again."""
    fake_framework.install(monkeypatch)
    configs = []

    def killed(run, *_):
        configs.append(run.config)
        raise fake_framework.Killed

    monkeypatch.setattr(commands, "compare", killed)
    (tmp_path / ".lock").touch()
    (tmp_path / ".12345-compare.json").write_bytes(b"half")
    for flags in (("--output", str(tmp_path), *FLAGS), ("--resume", str(tmp_path))):
        with pytest.raises(fake_framework.Killed):
            main(["compare", *flags])
    assert configs[0] == configs[1]
    assert main(["compare", "--output", str(tmp_path), *FLAGS]) == 1
    assert "holds files already" in capsys.readouterr().err


@pytest.mark.slow
def test_compare_trains_both_in_workers_and_writes_the_report(tmp_path, monkeypatch, capsys):
    fake_framework.install(monkeypatch)
    python = fake_python(tmp_path)
    folder = tmp_path / "comparison"
    interpreters = ("--interpreter", f"torch={python}", f"tensorflow={python}")
    assert main(["compare", *FLAGS, *interpreters, "--output", str(folder)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"torch", "tensorflow"}
    runs = [RunFolder.open(folder / name) for name in ("torch", "tensorflow")]
    assert [run.config.framework for run in runs] == ["torch", "tensorflow"]
    assert runs[0].result.batches_sha256 == runs[1].result.batches_sha256
    assert "Report: " in printed.out
    assert "PyTorch" in (folder / "report.html").read_text(encoding="utf-8")
