"""`alexnet explain` with both frameworks, each in one worker for all its runs."""

import json
from dataclasses import replace

import pytest
from support.fake_framework import RecordingObserver
from support.starting import train_in_worker

from alexnet_impl.cli import main
from alexnet_impl.explain.results import read_explanation
from alexnet_impl.runs.folder import RunFolder

pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.tensorflow]

ARGUMENTS = [
    *("explain", "--variant", "cifar", "--width", "0.0625", "--steps", "60", "--seeds", "3"),
    *("--only", "softmax-twice,resize", "--threads", "1"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("explained") / "out"
    assert main([*ARGUMENTS, "--output", str(path)]) == 0
    return path


def test_explanation_of_real_digits_is_whole(folder):
    values = json.loads((folder / "explain.json").read_text())
    assert {run["status"] for run in values["runs"]} == {"finished"}
    assert len(values["runs"]) == 2 * 3 + 2 * 3
    effects = {effect["name"]: effect for effect in values["effects"]}
    assert effects["resize"]["does_not_apply"] == "images are not resized"
    assert not effects["the framework itself"]["metrics"]["test_top1_accuracy"]["measurable"]
    assert (folder / "explain.html").stat().st_size > 20_000
    assert (folder / "explain.png").stat().st_size < 150_000


def test_softmax_twice_is_found(folder):
    """Its loss cannot fall below 1.46, which the network does in its steps."""
    effects = {effect.row.name: effect for effect in read_explanation(folder).factors}
    found = effects["softmax-twice"].estimates["train_loss"]
    assert found.mean > 0.2
    assert found.measurable


@pytest.mark.parametrize("name", ["torch", "tensorflow"])
def test_last_run_of_a_series_is_what_a_worker_of_its_own_trains(folder, tmp_path, name):
    plan = read_explanation(folder).plan
    arm, seed = list(plan.runs(name))[-1]
    last = read_explanation(folder).outcomes[arm, seed].path
    alone = train_in_worker(plan.config(arm, seed), tmp_path / "alone", RecordingObserver())
    in_series = RunFolder.open(last).result
    same = {"timing": alone.timing, "peak_memory_bytes": alone.peak_memory_bytes}
    assert replace(in_series, **same) == alone
