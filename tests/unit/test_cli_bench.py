"""What `alexnet bench` refuses before any framework is started."""

import json
import re
import warnings
from types import SimpleNamespace

import pytest
from cases import make_case
from support.measured import DIFFERS, EQUAL, pair, side

from alexnet_impl import compare as comparison
from alexnet_impl import frameworks
from alexnet_impl.cli import bench, main
from alexnet_impl.cli.bench import case_of
from alexnet_impl.cli.flags import Bench
from alexnet_impl.data.progress import Ticker
from alexnet_impl.errors import RunError
from alexnet_impl.machine import watch
from alexnet_impl.measurement import kept_rounds, rounds
from alexnet_impl.measurement.case_worker import OutOfMemoryError
from alexnet_impl.measurement.forecast import forecast
from alexnet_impl.measurement.largest_batch import OutOfMemory
from alexnet_impl.measurement.measured_cases import RoundsPlan
from alexnet_impl.measurement.recording import read_recording
from alexnet_impl.measurement.rounds import from_now
from alexnet_impl.measurement.workloads import WORKLOADS
from alexnet_impl.report.bench import page
from alexnet_impl.stats.speed_ratios import paired_ratio

pytestmark = pytest.mark.fast
SAME = "only at the same gated workload with the same recipe"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["torch", "tensorflow,precision=bfloat16"], SAME),
        (["torch,workload=tutorial-loop", "tensorflow,workload=tutorial-loop"], SAME),
        (["torch,workload=inference", "tensorflow"], SAME),
        (["torch,workload=batching", "tensorflow,workload=decoding"], SAME),
        (["torch,workload=building", "tensorflow,workload=conversion"], SAME),
        (
            ["torch", "torch,workload=building"],
            "training is counted in images and building in models",
        ),
        (["torhc"], "Did you mean 'torch'?"),
        (["torch", "torch", "torch"], "got 3 sides; give one or two"),
        (["torch,foo=1"], "Unknown recipe field 'foo'"),
        (["torch,compiled"], "'compiled' must be workload=WORKLOAD or FIELD=VALUE"),
        (["torch", "--workload", "trainig"], "Did you mean 'training'?"),
        (["torch", "--rounds", "0"], "--rounds 0: must be a finite number above 0"),
        (["torch", "--budget", "nan"], "--budget nan: must be a finite number above 0"),
        (["torch", "--warm-up", "inf"], "the default is 20.0"),
        (["torch", "--width-of-interval", "nan"], "--width-of-interval nan: must be"),
        (["torch", "--margin", "-1"], "--margin -1.0: must be a finite number not below 0"),
        (["torch", "--margin", "nan"], "--margin nan: must be"),
        (["compare", "nowhere.json", "nowhere.json"], "no such file"),
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


@pytest.fixture
def measured(monkeypatch):
    """A measurement that takes no time; the cases that were measured."""
    cases = []

    def measure(case, *_):
        cases.append(case)
        return side(case.config.framework, 0.1, 0.1, 0.1)

    monkeypatch.setattr(kept_rounds, "measure", measure)
    monkeypatch.setattr(watch, "measure_interference", lambda _: 0.0)
    return cases


@pytest.fixture
def without_tensorflow(monkeypatch):
    for module in (comparison, frameworks):
        monkeypatch.setattr(module, "is_installed", lambda name: name != "tensorflow")


@pytest.mark.usefixtures("without_tensorflow")
def test_one_framework_is_timed_without_the_other(measured, tmp_path):
    assert main(["bench", "torch", "--output", str(tmp_path / "bench")]) == 0
    assert [case.config.framework for case in measured] == ["torch"]
    assert (tmp_path / "bench" / "bench.json").is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("without_tensorflow")
@pytest.mark.parametrize("sides", [(), ("tensorflow",)])
def test_a_framework_that_is_missing_is_refused_first(measured, sides, tmp_path, capsys):
    assert main(["bench", *sides, "--output", str(tmp_path / "bench")]) == 1
    assert "tensorflow is not installed" in capsys.readouterr().err
    assert not measured
    assert not list(tmp_path.iterdir())


def test_output_that_cannot_be_written_is_refused_before_anything_is_timed(
    measured, tmp_path, capsys
):
    (tmp_path / "file").write_text("in the way")
    assert main(["bench", "torch", "--output", str(tmp_path / "file" / "bench")]) == 1
    assert "cannot be written (Not a directory)" in capsys.readouterr().err
    assert not measured


def test_a_measurement_that_fails_leaves_no_folder(measured, tmp_path, monkeypatch):
    def fail(*_):
        raise RunError("the worker died.")

    monkeypatch.setattr(kept_rounds, "measure", fail)
    assert main(["bench", "torch", "--output", str(tmp_path / "bench")]) == 1
    assert not list(tmp_path.iterdir())
    assert not measured


def text_of(capsys, *arguments):
    """What a command says and ends with, on one line."""
    code = main(list(arguments))
    said = capsys.readouterr()
    return code, " ".join(f"{said.out} {said.err}".replace("│", " ").split())


def test_help_lists_every_workload(capsys):
    code, said = text_of(capsys, "bench", "--help")
    assert code == 0
    listed = said.split("--workload WORKLOAD What")[1].split("--batch-size")[0]
    assert not [name for name in WORKLOADS if not re.search(rf"[ :]{name}[ ,.]", listed)]


@pytest.mark.parametrize("flag", ["--weights", "--cache-features", "--on-collapse"])
def test_flags_of_trainings_are_none_of_bench(flag, capsys):
    _, said = text_of(capsys, "bench", "--help")
    assert flag not in said
    assert text_of(capsys, "bench", "torch", flag, "stop")[0] == 2


def test_help_says_what_bench_does_without_a_flag(capsys):
    _, said = text_of(capsys, "bench", "--help")
    assert "(default: what --data-dir holds, or synthetic)" in said
    assert "(default: the number of cores)" in said


@pytest.mark.parametrize("arguments", [("--help",), ("old.json",)])
def test_bench_compare_is_called_as_it_was_typed(arguments, capsys):
    _, said = text_of(capsys, "bench", "compare", *arguments)
    assert "alexnet bench compare" in said
    assert "bench-compare" not in said


@pytest.mark.parametrize(("threads", "warned"), [("2", False), ("3", True)])
def test_more_threads_than_cores_are_not_taken_without_a_word(
    threads, warned, measured, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("alexnet_impl.training.run_request.usable_cores", lambda: 2)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # main() sets its own
    flags = ("--threads", threads, "--output", str(tmp_path / "bench"))
    assert main(["bench", "torch", *flags]) == 0
    assert measured[0].config.threads == int(threads)
    said = "alexnet: warning: --threads 3: only 2 CPU cores are available"
    assert (said in capsys.readouterr().err) is warned


@pytest.mark.parametrize(
    "workload", ["training", "training-from-pipeline", "inference", "decoding"]
)
def test_bench_and_benchmarks_time_the_same_case(workload):
    benchmark = make_case(workload, "torch", "cifar", global_batch_size=64)
    asked = case_of("torch", Bench(workload=workload))
    assert asked.on("cpu").key == benchmark.key
    assert asked.on("cpu").title == benchmark.title


@pytest.mark.parametrize(
    "side", ["torch,optimizer=adam,nesterov=false", "torch,nesterov=false,optimizer=adam"]
)
def test_fields_of_a_side_may_stand_in_any_order(side):
    """Nesterov's momentum is the usual recipe's, and Adam has none."""
    assert case_of(side, Bench()).config.recipe.optimizer == "adam"


@pytest.mark.slow
@pytest.mark.parametrize("workload", ["building", "conversion"])
def test_models_of_two_frameworks_are_compared_behind_the_gate(
    workload, monkeypatch, tmp_path, capsys
):
    def pass_gate(case, _):
        raise RunError(f"the gate of {case.workload}")

    monkeypatch.setattr(bench, "pass_gate", pass_gate)
    monkeypatch.setattr(bench, "check_frameworks", lambda *_: None)
    assert main(["bench", "--workload", workload, "--output", str(tmp_path / "bench")]) == 1
    assert f"the gate of {workload}" in capsys.readouterr().err


def test_a_side_of_its_own_recipe_is_a_case_of_its_own():
    first, second = (case_of(side, Bench()) for side in ("torch", "torch,clip_norm=1"))
    assert first.key != second.key
    assert second.title == f"{first.title} clip_norm=1"


def test_what_disturbed_a_bench_is_printed_and_kept(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(kept_rounds, "measure", lambda *_: side("torch", 0.1, 0.1))
    monkeypatch.setattr(watch, "measure_interference", lambda _: 0.7)
    assert main(["bench", "torch", "--output", str(tmp_path / "bench")]) == 0
    busy = "Other processes kept 70% of all cores busy just before the start."
    assert f"warning: {busy}" in capsys.readouterr().out
    found = read_recording(tmp_path / "bench")
    assert busy in found.interference.warnings
    assert found.interference.machine_after["cpu"] == found.machine["cpu"]


def test_side_that_was_dropped_for_the_others_memory_is_named(tmp_path, capsys, monkeypatch):
    def out_of_memory(first, *_):
        raise OutOfMemoryError("no room", first.on("cpu"))

    found = OutOfMemory(asked=64, fits=3, too_large=4, message="no room")
    monkeypatch.setattr(kept_rounds, "compare", out_of_memory)
    monkeypatch.setattr(bench, "find_largest_batch", lambda *_, beside: found if beside else None)
    monkeypatch.setattr(watch, "measure_interference", lambda _: 0.0)
    asked = ["bench", "torch", "torch,clip_norm=1", "--output", str(tmp_path / "bench")]
    assert main(asked) == 1
    said = capsys.readouterr().out
    assert "training torch cifar b64 float32: out of memory at batch 64; 3 fits" in said
    told = "`alexnet bench torch,clip_norm=1` with the same flags does."
    assert f"training torch cifar b64 float32 clip_norm=1: not measured; {told}" in said
    assert said.count("not measured") == 1
    assert len(read_recording(tmp_path / "bench").out_of_memory) == 1


@pytest.mark.slow
def test_memory_that_ends_after_the_rounds_loses_none_of_them(tmp_path, capsys, monkeypatch):
    def out_of_memory(first, *given):
        *_, announce = given
        announce(pair())
        raise OutOfMemoryError("no room", first.on("cpu"))

    monkeypatch.setattr(kept_rounds, "compare", out_of_memory)
    monkeypatch.setattr(bench, "pass_gate", lambda *_: EQUAL)
    monkeypatch.setattr(watch, "measure_interference", lambda _: 0.0)
    assert main(["bench", "--output", str(tmp_path / "bench")]) == 0
    assert "out of memory after these rounds (no room); they are kept." in capsys.readouterr().out
    found = read_recording(tmp_path / "bench")
    assert (len(found.entries), len(found.pairs), found.out_of_memory) == (2, 1, ())


def test_a_bench_that_is_stopped_keeps_its_rounds(tmp_path, capsys, monkeypatch):
    def stopped(*given):
        *_, announce = given
        announce(pair())
        raise KeyboardInterrupt

    monkeypatch.setattr(kept_rounds, "compare", stopped)
    monkeypatch.setattr(bench, "pass_gate", lambda *_: EQUAL)
    monkeypatch.setattr(watch, "measure_interference", lambda _: 0.0)
    folder = tmp_path / "bench"
    assert main(["bench", "--output", str(folder)]) == 130
    assert f"Stopped; the rounds so far are in {folder}" in capsys.readouterr().err
    found = read_recording(folder)
    assert [len(entry.times_s) for entry in found.entries] == [4, 4]
    assert found.pairs[0]["ratio"]["rounds"] == 3
    assert json.loads((folder / "bench.json").read_text())["complete"] is False


def test_forecast_gives_out_only_the_time_that_is_left(monkeypatch):
    """Settling the precision took 20 of 120 s."""
    now = [1000.0]
    monkeypatch.setattr(rounds, "time", SimpleNamespace(monotonic=lambda: now[0]))
    cases, plan = [case_of("torch", Bench())], from_now(RoundsPlan(budget_s=120))
    before = forecast(cases, plan, has_gate=False, machine={})
    now[0] += 20
    after = forecast(cases, plan, has_gate=False, machine={})
    assert "rounds up to 92 s; in all at most 120 s (--budget)" in before
    assert "rounds up to 72 s; in all at most 120 s (--budget)" in after


def test_budget_counts_what_settles_the_precision(measured, tmp_path, monkeypatch):
    """Workers are asked for 20 of 60 s."""
    now, seen = [1000.0], []
    monkeypatch.setattr(rounds, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def settled(configs, *_):
        now[0] += 20
        return configs

    def measure(case, plan, *_):
        seen.append((case, plan.ends_at - now[0]))
        return side("torch", 0.1, 0.1)

    monkeypatch.setattr(bench, "settled", settled)
    monkeypatch.setattr(kept_rounds, "measure", measure)
    asked = ["bench", "torch", "--budget", "60", "--output", str(tmp_path / "bench")]
    assert main(asked) == 0
    assert [left_s for _, left_s in seen] == [40.0]
    assert not measured


@pytest.mark.parametrize("sides", [("torch",), ("torch", "torch")])
def test_time_of_the_rounds_is_said_once_it_is_known(sides, tmp_path, capsys, monkeypatch):
    """The second round took 3 s, 100 s before the end, of which the peaks take 3.5 s a side."""
    now = [0.0]
    monkeypatch.setattr(rounds, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(watch, "measure_interference", lambda _: 0.0)
    monkeypatch.setattr(page, "write_figure", lambda *_: None)
    monkeypatch.setattr(page, "rounds_figure", lambda _: None)

    def three_rounds(*given):
        *_, announce = given
        for count, second in enumerate((13.0, 16.0, 19.0), start=1):
            now[0] = second
            times_s = [0.1] * count
            ratio = paired_ratio(times_s, times_s)
            announce(side("torch", *times_s) if len(sides) == 1 else pair(ratio=ratio))
        return side("torch", *times_s) if len(sides) == 1 else pair()

    monkeypatch.setattr(kept_rounds, "measure" if len(sides) == 1 else "compare", three_rounds)
    flags = ["--budget", "116", "--output", str(tmp_path / "bench")]
    assert main(["bench", *sides, *flags]) == 0
    left = "32 more, 96 s" if len(sides) == 1 else "31 more, 93 s"
    assert capsys.readouterr().out.count(f"A round takes 3.0 s: at most {left}.") == 1


@pytest.mark.slow
@pytest.mark.parametrize("gate", [EQUAL, DIFFERS], ids=["equal", "differs"])
def test_log_says_every_30_seconds_how_far_a_bench_is(gate, tmp_path, capsys, monkeypatch):
    """Without a ratio if the models differ."""
    now = [0.0]

    def four_rounds(*given):
        *_, announce = given
        for _ in range(4):
            now[0] += 20.0
            announce(pair())
        return pair()

    monkeypatch.setattr(kept_rounds, "compare", four_rounds)
    monkeypatch.setattr(bench, "pass_gate", lambda *_: gate)
    monkeypatch.setattr(bench, "Ticker", lambda: Ticker(lambda: now[0]))
    monkeypatch.setattr(watch, "measure_interference", lambda _: 0.0)
    assert main(["bench", "--output", str(tmp_path / "bench")]) == (0 if gate.holds else 1)
    rounds = [one for one in capsys.readouterr().out.splitlines() if one.startswith("round 3")]
    assert [" x [" in one for one in rounds] == [gate.holds] * 2


@pytest.mark.parametrize(
    ("budget", "machine", "words"),
    [
        (120, {}, ("gate 14 s, starts 10 s", "rounds up to 49 s; in all at most 120 s (--budget)")),
        (20, {}, ("These and one round take about 35 s, more than is left of --budget 20",)),
        (
            120,
            {"busy_share": 0.9, "load_average": [5.0], "logical_cpus": 2},
            ("gate 42 s, starts 30 s", "rounds up to 20 s"),
        ),
    ],
)
def test_bench_says_first_what_it_will_take(budget, machine, words):
    """Both sides are full-width cifar; a load of two a core makes all of it three times as long."""
    cases = [case_of(name, Bench()) for name in ("torch", "tensorflow")]
    said = forecast(cases, RoundsPlan(budget_s=budget), has_gate=True, machine=machine)
    assert said.startswith("Expected: gate ")
    assert not [word for word in words if word not in said], said
