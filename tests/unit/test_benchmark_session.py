"""What pytest shows and keeps of a session of benchmarks: files, table and warnings.

The sessions run in processes of their own, with workers that only pretend to time.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from cases import make_case

from alexnet_impl.cli import main
from alexnet_impl.measurement.recording import read_recording
from alexnet_impl.stats.speed_ratios import FEWEST_FOR_INTERVAL

pytestmark = pytest.mark.fast

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
BUSY = """
from alexnet_impl.machine import watch

watch.measure_interference = lambda _: 0.7
"""
CASES = """
import os
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from alexnet_impl.measurement.largest_batch import OutOfMemory
from alexnet_impl.measurement.timing import WarmUp
from alexnet_impl.measurement.case_worker import OutOfMemoryError, Prepared

class Worker:
    group = 2

    def __init__(self, case):
        self.case = case
        self.times = iter([0.1, 0.2, 0.1, 0.2, 0.1, 0.2])

    def prepare(self):
        asked = self.case.config.recipe.global_batch_size
        if asked > int(os.environ["LARGEST_BATCH"]):
            raise OutOfMemoryError("no room", self.case)
        return Prepared(preparation_s=1.0, amount=asked, unit="images")

    def warm_up(self, *_):
        return WarmUp(first_call_s=1.0, times_s=(0.1, 0.1), steady=True)

    def time_group(self):
        return next(self.times)

    def memory(self):
        return {"process": 2**30, "device": None}

    def peak(self):
        return 1e12

    def peaks(self, known):
        return {"copy": 1e10}

    def round_trip_s(self):
        return 1e-4

    def fingerprint(self):
        return {"torch": "2.9", "device": "cpu"}


@pytest.fixture(autouse=True)
def fake(request, monkeypatch):
    plugins = request.config.pluginmanager.get_plugins()
    conftest = next(one for one in plugins if hasattr(one, "note_out_of_memory"))

    @contextmanager
    def case_worker(case, **_):
        yield Worker(case)

    found = OutOfMemory(asked=512, fits=300, too_large=301, message="no room")
    monkeypatch.setattr(conftest, "case_worker", case_worker)
    monkeypatch.setattr(conftest, "find_largest_batch", lambda *_, **_how: found)
    monkeypatch.setattr(conftest, "gate_of", lambda *_: None)


@pytest.mark.parametrize("batch_size", [64, 512])
def test_speed(timed, batch_size):
    timed("training", "torch", "cifar", width=0.0625, global_batch_size=batch_size)
"""


SESSIONS = """
import ast, os, sys
import pytest

shared = ["-q", "-p", "no:cacheprovider", "--benchmark-storage=file://storage"]
for largest_batch, flags in ast.literal_eval(sys.argv[1]).items():
    os.environ["LARGEST_BATCH"] = str(largest_batch)
    if code := pytest.main([*shared, *flags]):
        sys.exit(code)
    print(end="\\f", flush=True)
"""
"""One session after another in one process; a form feed ends what each prints."""


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    """Both cases fit in the first session; the larger one runs out of memory in the second.

    Gives the folder, and what pytest printed of each.
    """
    folder = tmp_path_factory.mktemp("benchmarks")
    shutil.copy(BENCHMARKS / "cases.py", folder)
    conftest = (BENCHMARKS / "conftest.py").read_text()
    (folder / "conftest.py").write_text(f"{conftest}\n\n{BUSY}")
    (folder / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    (folder / "test_cases.py").write_text(CASES)
    asked = {
        512: ["--benchmark-json=old.json", "--benchmark-save=first"],
        64: ["--benchmark-json=new.json", "--benchmark-compare=0001"],
    }
    command = [sys.executable, "-c", SESSIONS, repr(asked)]
    # Of its own: what pytest-xdist tells its workers turns pytest-benchmark off.
    environment = {n: v for n, v in os.environ.items() if not n.startswith("PYTEST")}
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout.split("\f")[:-1]


@pytest.mark.slow
def test_case_that_does_not_fit_is_kept_shown_and_found_by_bench_compare(sessions, capsys):
    folder, (_, told) = sessions
    old, new = folder / "old.json", folder / "new.json"
    assert "out of memory at batch 512; 300 fits" in told.partition("images/s, memory")[2]
    found = read_recording(new)
    assert [key["global_batch_size"] for key in found.out_of_memory] == [512]
    assert [entry.key["global_batch_size"] for entry in found.entries] == [64]
    assert main(["bench", "compare", str(old), str(new), "--other-machine"]) == 1
    said = capsys.readouterr().out
    assert "out of memory in NEW: training torch cifar width 0.0625 b512" in said


@pytest.mark.slow
def test_saved_session_can_be_compared_by_pytest_benchmark_itself(sessions):
    assert "(0001_first)" in sessions[1][1]


@pytest.mark.slow
def test_warnings_stand_below_their_row_and_the_machines_below_all(sessions):
    folder, (told, _) = sessions
    row, warning, *_ = told.partition("images/s, memory")[2].splitlines()[2:]
    assert row.startswith("training torch cifar width 0.0625 b64 float32")
    assert warning.startswith("    warning: ")
    busy = "Other processes kept 70% of all cores busy just before the start."
    assert f"warning: {busy}" in told
    found = read_recording(folder / "old.json")
    assert busy in found.interference.warnings
    assert found.machine["busy_share"] == 0.7
    assert found.interference.machine_after["load_average"]


@pytest.fixture
def hooks(monkeypatch):
    """benchmarks/conftest.py as a module, with both frameworks, and a gate that takes no time."""
    spec = importlib.util.spec_from_file_location("hooks", BENCHMARKS / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "is_installed", lambda _: True)
    monkeypatch.setattr(module, "pass_gate", lambda case, _: case)
    return module


@pytest.mark.parametrize(
    ("paths", "flags", "markers"),
    [
        (["benchmarks"], ["benchmarks", "-k", "training"], "not gpu"),
        (["benchmarks/test_throughput.py::test_throughput"], [], "not gpu"),
        (["benchmarks"], ["benchmarks", "-m", "fast"], "fast"),
        (["benchmarks"], ["-mfast", "benchmarks"], "fast"),
        (["tests", "benchmarks"], [], "fast"),
        (["tests/unit"], ["tests/unit"], "fast"),
    ],
)
def test_benchmarks_of_a_cpu_run_where_only_benchmarks_are_named(hooks, paths, flags, markers):
    config = SimpleNamespace(
        args=paths,
        option=SimpleNamespace(markexpr="fast"),
        invocation_params=SimpleNamespace(dir=BENCHMARKS.parent, args=flags),
    )
    hooks.pytest_configure(config)
    assert config.option.markexpr == markers


def test_pairs_take_the_rounds_that_an_interval_needs(hooks):
    assert hooks.PAIR_PLAN.fewest_rounds >= FEWEST_FOR_INTERVAL


@pytest.mark.parametrize(
    ("change", "alike"),
    [
        ({"steps_per_call": 8, "device_data": True}, True),
        ({"global_batch_size": 256}, True),
        ({"loss_input": "probabilities"}, False),
        ({"nesterov": False}, False),
        ({"precision": "bfloat16"}, False),
        ({"compile_mode": "compiled"}, False),
    ],
)
def test_rows_share_a_gate_only_if_their_steps_compute_the_same(hooks, change, alike):
    gates = {}
    first, second = (make_case("training", "torch", "cifar", **how) for how in ({}, change))
    assert hooks.gate_of(first, gates, {}) is first
    assert (hooks.gate_of(second, gates, {}) is first) is alike


def test_single_rows_of_compiled_steps_have_no_gate_and_pairs_of_them_have(hooks):
    case = make_case("training", "torch", "cifar", compile_mode="compiled")
    assert not hooks.has_gate(case, {})
    assert hooks.gate_of(case, {}, {}) is case


def test_a_framework_of_another_environment_counts_as_there(hooks, monkeypatch):
    monkeypatch.setattr(hooks, "is_installed", lambda name: name == "torch")
    case = make_case("training", "torch", "cifar")
    assert not hooks.has_gate(case, {})
    assert hooks.has_gate(case, {"tensorflow": "python"})


@pytest.mark.parametrize(
    ("promised", "outcome"),
    [("torch,gpu", pytest.fail.Exception), ("torch", pytest.skip.Exception)],
)
def test_promised_gpu_is_not_skipped(pytestconfig, monkeypatch, promised, outcome):
    plugins = pytestconfig.pluginmanager.get_plugins()
    conftest = next(one for one in plugins if hasattr(one, "_require_gpu"))
    monkeypatch.setenv("ALEXNET_REQUIRE", promised)
    monkeypatch.setattr(conftest, "_device_elsewhere", lambda *_: "cpu")
    item = SimpleNamespace(get_closest_marker=lambda name: name == "torch")
    with pytest.raises(outcome, match="needs a GPU, and torch sees none"):
        conftest._require_gpu(item, {"torch": "/a/python"})  # noqa: SLF001
