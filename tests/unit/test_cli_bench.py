"""What `alexnet bench` refuses before any framework is started."""

import pytest
from cases import make_case
from measured import side

from alexnet_impl.cli import bench, main
from alexnet_impl.cli.bench import case_of
from alexnet_impl.cli.flags import Bench
from alexnet_impl.measurement.memory import OutOfMemory
from alexnet_impl.measurement.record import read_recording
from alexnet_impl.measurement.worker import OutOfMemoryError

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


@pytest.mark.parametrize("work", ["training", "training-from-pipeline", "inference", "decoding"])
def test_bench_and_benchmarks_time_the_same_case(work):
    benchmark = make_case(work, "torch", "cifar", global_batch_size=64)
    asked = case_of("torch", Bench(work=work))
    assert asked.on("cpu").key == benchmark.key
    assert asked.on("cpu").title == benchmark.title


def test_a_side_of_its_own_recipe_is_a_case_of_its_own():
    first, second = (case_of(side, Bench()) for side in ("torch", "torch,clip_norm=1"))
    assert first.key != second.key
    assert second.title == f"{first.title} clip_norm=1"


def test_what_disturbed_a_bench_is_printed_and_kept(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench, "measure", lambda *_: side("torch", 0.1, 0.1))
    monkeypatch.setattr(bench, "busyness", lambda _: 0.7)
    assert main(["bench", "torch", "--output", str(tmp_path / "bench")]) == 0
    busy = "Other processes kept 70% of all cores busy just before the start."
    assert f"warning: {busy}" in capsys.readouterr().out
    found = read_recording(tmp_path / "bench")
    assert busy in found.disturbed.warnings
    assert found.disturbed.machine_after["cpu"] == found.machine["cpu"]


def test_side_that_was_dropped_for_the_others_memory_is_named(tmp_path, capsys, monkeypatch):
    def no_room(first, *_):
        raise OutOfMemoryError("no room", first.on("cpu"))

    found = OutOfMemory(asked=64, fits=3, too_large=4, message="no room")
    monkeypatch.setattr(bench, "compare", no_room)
    monkeypatch.setattr(bench, "find_largest_batch", lambda *_: found)
    monkeypatch.setattr(bench, "busyness", lambda _: 0.0)
    asked = ["bench", "torch", "torch,clip_norm=1", "--output", str(tmp_path / "bench")]
    assert main(asked) == 1
    said = capsys.readouterr().out
    assert "training torch cifar b64 float32: out of memory at batch 64; 3 fits" in said
    told = "`alexnet bench torch,clip_norm=1` with the same flags does."
    assert f"training torch cifar b64 float32 clip_norm=1: not measured; {told}" in said
    assert said.count("not measured") == 1
    assert len(read_recording(tmp_path / "bench").no_room) == 1
