"""`alexnet parity` with its two processes, whole, and with one of them broken."""

import re
import subprocess
import sys

import pytest

from alexnet_impl.cli import main
from alexnet_impl.parity.record import read_record

pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.tensorflow]

BREAK = """
import sys
from alexnet_impl.frameworks.tensorflow import weights
weights.flattened_kernels = lambda spec: {}
from alexnet_impl.cli import main
sys.exit(main(sys.argv[sys.argv.index("alexnet_impl") + 1 :]))
"""
ASK = ["parity", "--width", "0.0625", "--steps", "12", "--device", "cpu", "--test-images", "50"]


def test_stages_hold_and_leave_a_record_and_a_picture(tmp_path, capsys):
    assert main([*ASK, "--output", str(tmp_path / "out")]) == 0
    record = read_record(tmp_path / "out")
    assert record.holds
    assert {check.name for check in record.checks} >= {"logits", "lockstep", "predictions"}
    assert set(record.environment["frameworks"]) == {"torch", "tensorflow"}
    assert record.environment["frameworks"]["tensorflow"]["tf32"] is False
    assert (tmp_path / "out" / "lockstep.png").is_file()
    out = capsys.readouterr().out
    assert "checks hold" in out
    assert re.search(r"Time: [\d.]+ s, of which importing (torch|tensorflow) took [\d.]+ s", out)


def test_drawing_is_imported_while_the_workers_start():
    code = "import alexnet_impl.cli.parity, sys; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_broken_framework_is_named_and_the_exit_code_says_so(tmp_path, capsys):
    script = tmp_path / "broken.py"
    script.write_text(BREAK)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n')
    python.chmod(0o755)
    broken = ["--interpreter", f"tensorflow={python}", "--output", str(tmp_path / "out")]
    assert main([*ASK, *broken]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "First mismatch: layers (float64), fc1" in out
    assert "tensorflow computes as if the rows of fc1 had not been permuted" in out
    assert not read_record(tmp_path / "out").holds


def test_process_that_dies_is_reported_in_one_line(tmp_path, capsys):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no luck today >&2\nexit 3\n")
    python.chmod(0o755)
    broken = ["--interpreter", f"torch={python}", "--output", str(tmp_path / "out")]
    assert main([*ASK, *broken]) == 1
    said = capsys.readouterr().err.strip()
    assert said == "alexnet: error: torch: the worker process ended with code 3: no luck today"
