"""`alexnet compare` as a whole: the NumPy framework on both sides, each in a process of its own."""

import pytest
from support import fake_framework
from support.fake_worker import fake_python

from alexnet_impl.cli import main
from alexnet_impl.runs.folder import RunFolder

pytestmark = pytest.mark.slow


def test_compare_trains_both_in_workers_and_writes_the_report(tmp_path, monkeypatch, capsys):
    fake_framework.install(monkeypatch)
    python = fake_python(tmp_path)
    folder = tmp_path / "comparison"
    flags = (
        *("--variant", "linear", "--dataset", "synthetic", "--image-size", "4"),
        *("--train-images", "50", "--test-images", "30", "--recipe.epochs", "2"),
        *("--interpreter", f"torch={python}", f"tensorflow={python}", "--output", str(folder)),
    )
    assert main(["compare", *flags]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"torch", "tensorflow"}
    runs = [RunFolder.open(folder / name) for name in ("torch", "tensorflow")]
    assert [run.config.framework for run in runs] == ["torch", "tensorflow"]
    assert runs[0].result.batches_sha256 == runs[1].result.batches_sha256
    assert "Report: " in printed.out
    assert "PyTorch" in (folder / "report.html").read_text(encoding="utf-8")
