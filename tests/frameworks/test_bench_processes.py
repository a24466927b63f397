"""`alexnet bench` with both frameworks, each in a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from alexnet_impl.cli import main
from alexnet_impl.measurement.recording import read_recording

pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.tensorflow]

ROOT = Path(__file__).parents[2]
SMALL = ["--width", "0.0625", "--batch-size", "16", "--warm-up", "2", "--rounds", "3"]


def bench(folder, *flags):
    return main(["bench", *flags, *SMALL, "--output", str(folder)])


def test_two_frameworks_pass_the_gate_and_get_a_ratio(tmp_path, capsys):
    assert bench(tmp_path / "bench", "torch", "tensorflow") == 0
    said = capsys.readouterr().out
    assert "gate: equal" in said
    assert re.search(r"training torch .* / training tensorflow .*: \d\.\d+ x \[", said)
    found = read_recording(tmp_path / "bench")
    assert [entry.key["framework"] for entry in found.entries] == ["torch", "tensorflow"]
    (pair,) = found.pairs
    assert pair["gate"]["holds"]
    assert pair["ratio"]["low"] <= pair["ratio"]["ratio"] <= pair["ratio"]["high"]
    for entry in found.entries:
        assert len(entry.times_s) == 2 * pair["ratio"]["rounds"]
        assert entry.rest["memory"]["process"] > 2**20
        assert 0 < entry.rest["fraction_of_peak"] < 2
    assert (tmp_path / "bench" / "rounds.png").is_file()


@pytest.mark.parametrize(
    ("framework", "workload"), [("torch", "tutorial-loop"), ("tensorflow", "transfer")]
)
def test_a_work_runs_in_a_process(framework, workload, tmp_path, capsys):
    assert bench(tmp_path / "bench", framework, "--workload", workload) == 0
    assert f"{workload} {framework} cifar" in capsys.readouterr().out


def test_many_steps_a_call_count_as_many_images(tmp_path, capsys):
    sides = ["tensorflow,steps_per_call=8,device_data=true", "tensorflow"]
    assert bench(tmp_path / "bench", *sides) == 0
    capsys.readouterr()
    many, one = read_recording(tmp_path / "bench").entries
    assert (many.amount, one.amount) == (8 * 16, 16)
    assert many.key != one.key


IN_LITTLE_MEMORY = f"""
import resource, sys
from alexnet_impl.cli import main
from alexnet_impl.measurement import largest_batch
largest_batch.PROBES = 0
resource.setrlimit(resource.RLIMIT_AS, ({8 * 2**30}, resource.RLIM_INFINITY))
sys.exit(main(sys.argv[1:]))
"""
"""The command and its workers with 8 GB of addresses each; this process may hold more already."""


def test_a_batch_that_does_not_fit_is_a_result(tmp_path):
    """The batch that was asked for is recorded with the largest that fits."""
    # Images that are resized take much room and little time.
    sides = ["bench", "torch", "--workload", "preprocessing", "--variant", "torchvision"]
    flags = ["--width", "0.0625", "--batch-size", "8192", "--output", str(tmp_path / "bench")]
    command = [sys.executable, "-c", IN_LITTLE_MEMORY, *sides, *flags]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    said = done.stdout.replace("\n", " ")
    found = re.search(r"out of memory at batch 8192; (\d+) fits, (\d+) does not", said)
    fits, too_large = map(int, found.groups())
    assert 0 < fits < too_large <= 8192
    assert read_recording(tmp_path / "bench").out_of_memory[0]["global_batch_size"] == 8192


def test_pytest_selects_benchmarks_without_a_marker():
    command = [sys.executable, "-m", "pytest", "benchmarks", "-k", "training and cifar"]
    command += ["--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_throughput[torch-training-cifar" in done.stdout
    assert "gpu]" not in done.stdout
