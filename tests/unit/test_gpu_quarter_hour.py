"""The script that an owner of a GPU runs: its steps, their limits, and the table at its end."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import gpu_table
import pytest

pytestmark = pytest.mark.fast

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MINUTES = 15


@pytest.mark.torch
@pytest.mark.tensorflow
def test_every_step_has_a_limit_and_all_end_in_a_quarter_of_an_hour():
    pythons = {"PYTHON_TORCH": sys.executable, "PYTHON_TENSORFLOW": sys.executable}
    done = subprocess.run(
        [BENCHMARKS / "gpu_quarter_hour.sh", "out"],
        env=os.environ | pythons | {"DRY_RUN": "1", "ALEXNET_DATA": "cifar10"},
        capture_output=True,
        text=True,
        check=True,
    )
    steps = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    limits = [int(re.match(r"timeout (\d+) ", command)[1]) for command in steps.values()]
    assert sum(limits) <= MINUTES * 60
    for framework in ("torch", "tensorflow"):
        for name in ("tests", "speedrun", "kill-and-resume", "memory-227"):
            assert framework in steps[f"{name}-{framework}"]
    for variant in ("cifar", "torchvision"):
        for precision in ("float32", "bfloat16", "float16"):
            command = steps[f"bench-{variant}-{precision}"]
            assert " bench torch tensorflow " in command
            assert f"--variant {variant} --width 1 " in command
            assert f"--recipe.precision {precision} --device gpu" in command


ENTRY = {
    "title": "training torch cifar b1024 bfloat16",
    "per_second": 123456.7,
    "fraction_of_peak": 0.4567,
    "memory": {"process": 2**30, "device": 3 * 2**30},
    "framework": {"torch": "2.14.1", "cuda": "13.0", "threads": 16},
}
TOO_LARGE = {"title": "training tensorflow cifar", "out_of_memory": {"asked": 9, "fits": 4}}
PAIR = {
    "first": ENTRY["title"],
    "ratio": {"ratio": 1.234, "low": 1.2, "high": None},
    "verdict": "faster",
    "gate": {"holds": True},
}


@pytest.mark.parametrize(
    ("pair", "shown"),
    [
        (PAIR, "1.23 [1.20, ?], faster"),
        (PAIR | {"gate": {"holds": False, "outcome": "differs: loss"}}, "none: differs: loss"),
    ],
)
def test_table_has_what_was_measured_and_what_failed(tmp_path, pair, shown):
    for name in ("bench", "speedrun-torch", "killed"):
        (tmp_path / name).mkdir()
    machine = {"cpu": "a processor", "gpus": [{"name": "NVIDIA H200", "driver": "570"}]}
    bench = {"machine": machine, "measured": [ENTRY, TOO_LARGE], "compared": [pair]}
    (tmp_path / "bench" / "bench.json").write_text(json.dumps(bench))
    timing = {"training_time_s": 4.0, "first_step_time_s": 0.5}
    result = {"status": "finished", "test_top1_accuracy": 0.84, "timing": timing}
    (tmp_path / "speedrun-torch" / "result.json").write_text(json.dumps(result))
    for name in ("speedrun-torch", "killed"):
        (tmp_path / name / "run.json").write_text("{}")
    (tmp_path / "steps.tsv").write_text("doctor\t3\t0\nbench\t75\t124\n")
    lines = gpu_table.main(tmp_path).splitlines()
    assert lines[0] == "NVIDIA H200 (driver 570); a processor; torch 2.14.1, cuda 13.0."
    assert f"| {ENTRY['title']} | 123,457 | 45.7% | 3,072 MiB | {shown} |" in lines
    assert "| training tensorflow cifar | out of memory; 4 fits | - | - |  |" in lines
    assert "| speedrun-torch | finished | 84.00%, 80.76% reached | 4.5 s | 0 |" in lines
    assert "| killed | did not end | - | - | - |" in lines
    assert "| bench | 75 s | exit code 124 |" in lines


def test_table_says_which_benches_were_stopped(tmp_path):
    (tmp_path / "bench").mkdir()
    entry = ENTRY | {"times_s": [0.1] * 6}
    bench = {"machine": {}, "measured": [entry], "compared": [PAIR], "complete": False}
    (tmp_path / "bench" / "bench.json").write_text(json.dumps(bench))
    assert f"| {ENTRY['title']} (stopped after 3 rounds) | " in gpu_table.main(tmp_path)
