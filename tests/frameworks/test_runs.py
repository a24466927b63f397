"""Whole runs as a user makes them: processes that are stopped, resumed and compared."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.weights.canonical import weights_sha256

pytestmark = pytest.mark.slow

ALEXNET = [sys.executable, "-m", "alexnet_impl"]
OPTIONS = [
    *("--variant", "cifar-dropout", "--width", "0.0625", "--dataset", "synthetic"),
    *("--train-images", "1024", "--test-images", "100", "--device", "cpu"),
    *("--recipe.epochs", "3", "--recipe.global-batch-size", "16"),
    *("--recipe.flip", "--recipe.crop-padding", "2", "--recipe.validation-fraction", "0.1"),
]


def run(*arguments, check=True):
    done = subprocess.run([*ALEXNET, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, done.stderr[-2000:]
    return done


def train(framework_name, folder):
    return ["train", "--framework", framework_name, "--output", str(folder), *OPTIONS]


def facts(folder):
    """What must not depend on interruptions."""
    found = RunFolder.open(folder)
    return (
        weights_sha256(found.read_weights()),
        found.result.batches_sha256,
        found.result.test_top1_accuracy,
        found.history.step_loss,
        found.history.step_learning_rate,
        [(record.loss, record.eval_loss) for record in found.history.epochs],
    )


def end_by(number, framework_name, folder, ready):
    """Start a run, send a signal once `ready(folder)` holds, and give back its exit code."""
    command = [*ALEXNET, *train(framework_name, folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not ready(folder):
        assert process.poll() is None, "the run ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    return process.wait()


def has_checkpoint(folder):
    return (folder / "checkpoint.safetensors").is_file()


@pytest.fixture(scope="module")
def uninterrupted(framework_name, tmp_path_factory):
    folder = tmp_path_factory.mktemp(framework_name) / "run"
    run(*train(framework_name, folder))
    return facts(folder)


def test_a_run_stopped_with_ctrl_c_and_resumed_ends_bit_for_bit_alike(
    framework_name, uninterrupted, tmp_path
):
    folder = tmp_path / "run"
    assert end_by(signal.SIGINT, framework_name, folder, has_checkpoint) == 130
    found = RunFolder.open(folder)
    assert found.result.status == "interrupted"
    assert has_checkpoint(folder)
    run("train", "--resume", str(folder))
    assert facts(folder) == uninterrupted
    assert not has_checkpoint(folder)


@pytest.mark.torch
@pytest.mark.tensorflow
def test_compare_says_what_a_worker_died_of(tmp_path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nkill -SEGV $$\n")
    broken.chmod(0o755)
    done = run(
        "compare",
        *("--output", str(tmp_path / "out"), "--interpreter", f"torch={broken}", *OPTIONS),
        check=False,
    )
    assert done.returncode == 1
    assert "torch: the worker process was killed by signal 11" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.torch
@pytest.mark.tensorflow
def test_compare_stopped_and_resumed_finishes_both_and_writes_the_report(tmp_path):
    folder = tmp_path / "out"
    command = [*ALEXNET, "compare", "--output", str(folder), *OPTIONS]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not has_checkpoint(folder / "torch"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"alexnet compare --resume {folder}" in said.decode()
    done = run("compare", "--resume", str(folder))
    runs = [RunFolder.open(folder / name) for name in ("torch", "tensorflow")]
    assert [found.result.status for found in runs] == ["finished", "finished"]
    assert runs[0].initial_weights_sha256 == runs[1].initial_weights_sha256
    assert runs[0].result.batches_sha256 == runs[1].result.batches_sha256
    assert f"{runs[0].result.test_top1_accuracy:.2%}" in done.stdout
    assert "<html" in (folder / "report.html").read_text()
    environment = json.loads((folder / "torch" / "environment.json").read_text())
    assert "tensorflow" not in environment["framework"]


@pytest.mark.parametrize("delay_s", [0.1, 1.0])
@pytest.mark.torch
@pytest.mark.tensorflow
def test_ctrl_c_while_a_worker_starts_stops_compare(tmp_path, delay_s):
    folder = tmp_path / "out"
    process = subprocess.Popen(
        [*ALEXNET, "compare", "--output", str(folder), *OPTIONS],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not (folder / "torch.log").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(delay_s)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said.decode()
    assert len(said.decode().strip().splitlines()) == 1
