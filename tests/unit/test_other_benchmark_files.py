"""Files of pytest-benchmark over any tests, compared by name, and files of other programs."""

import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

from alexnet_impl.cli.bench import bench_compare_command
from alexnet_impl.cli.flags import BenchCompare
from alexnet_impl.errors import RunError
from alexnet_impl.measurement import regressions
from alexnet_impl.measurement.recording import read_recording
from alexnet_impl.measurement.regressions import RegressionOptions, find_regressions
from alexnet_impl.stats.speed_ratios import MeasurementError, Summary, ratio_of_means

pytestmark = pytest.mark.fast

MACHINE = {
    "machine": "x86_64",
    "release": "6.1",
    "python_implementation": "CPython",
    "python_version": "3.11.7",
    "cpu": {"brand_raw": "Xeon", "count": 2},
}
OPTIONS = RegressionOptions()


def times(seed, *, median_s=1e-3, count=30, noise=0.01):
    values = np.random.default_rng(seed).standard_normal(count)
    return (median_s * np.exp(noise * values)).tolist()


def benchmark(name, data, *, group=None, raw=True):
    """One benchmark as pytest-benchmark writes it, with its raw times or without."""
    stats = {
        "mean": float(np.mean(data)),
        "stddev": float(np.std(data, ddof=1)) if len(data) > 1 else 0,
        "median": float(np.median(data)),
        "rounds": len(data),
        "iterations": 1,
    }
    return {
        "name": name,
        "fullname": f"test_x.py::{name}",
        "group": group,
        "extra_info": {},
        "stats": stats | ({"data": data} if raw else {}),
    }


@pytest.fixture
def write(tmp_path):
    def write(name, *benchmarks, machine=MACHINE):
        content = {"machine_info": machine, "benchmarks": list(benchmarks), "version": "5.3.1"}
        (tmp_path / name).write_text(json.dumps(content))
        return tmp_path / name

    return write


def compare(old, new, **flags):
    """The exit code and what is printed."""
    told = io.StringIO()
    command = BenchCompare(old=old, new=new, **flags)
    return bench_compare_command(command, Console(file=told, width=200)), told.getvalue()


def test_benchmarks_are_compared_by_name(write):
    old = write("old.json", benchmark("test_a", times(1)), benchmark("test_b", times(2)))
    slower = benchmark("test_b", times(4, median_s=1.2e-3))
    new = write("new.json", slower, benchmark("test_a", times(3)), benchmark("test_c", times(5)))
    code, told = compare(old, new)
    assert code == 1
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    assert lines[0].split()[:5] == ["case", "OLD", "calls/s", "NEW", "calls/s"]
    (flagged,) = (line for line in lines if "REGRESSION" in line)
    assert flagged.startswith("test_x.py::test_b")
    assert "only in NEW: test_x.py::test_c" in lines
    assert "note" not in told
    assert "1 regression beyond 5% in 2 cases: 1 shown to have none." in told


@pytest.mark.parametrize("lacking", ["old", "new", "both"])
def test_without_raw_times_the_interval_is_from_mean_and_deviation(write, lacking):
    old = write("old.json", benchmark("test_a", times(1), raw=lacking == "new"))
    new = write("new.json", benchmark("test_a", times(2, median_s=1.2e-3), raw=lacking == "old"))
    done = find_regressions(read_recording(old), read_recording(new), OPTIONS)
    (case,) = done.cases
    expected = np.mean(times(1)) / np.mean(times(2, median_s=1.2e-3))
    assert case.ratio.ratio == pytest.approx(expected)
    assert case.new_per_second / case.old_per_second == pytest.approx(expected)
    assert 0.81 < case.ratio.low < case.ratio.ratio < case.ratio.high < 0.85
    assert case.regression
    code, told = compare(old, new)
    assert code == 1
    assert "note: speeds and intervals of 1 of 1 cases are from mean and deviation" in told


def test_file_without_extra_info_is_read(write):
    plain = benchmark("test_a", times(1))
    del plain["extra_info"], plain["fullname"], plain["group"]
    found = read_recording(write("old.json", plain))
    assert [entry.title for entry in found.entries] == ["test_a"]
    assert found.entries[0].group == "pytest-benchmark"


def test_single_round_has_no_interval(write):
    old, new = (write(name, benchmark("a", [0.1], raw=False)) for name in ("old.json", "new.json"))
    code, told = compare(old, new)
    assert code == 0
    assert "[none: 1 values]" in told
    assert "1 undecided" in told


def test_groups_of_tests_have_thresholds(write):
    old = write("old.json", benchmark("test_a", times(1), group="io"))
    new = write("new.json", benchmark("test_a", times(2, median_s=1.2e-3), group="io"))
    assert compare(old, new, threshold_for=("io=0.5",))[0] == 0
    assert compare(old, new, threshold_for=("io=0.1",))[0] == 1


def test_another_machine_is_refused_and_another_python_is_named(write):
    old = write("old.json", benchmark("test_a", times(1)))
    other = MACHINE | {"cpu": {"brand_raw": "EPYC"}}
    new = write("new.json", benchmark("test_a", times(2)), machine=other)
    with pytest.raises(RunError, match=r"different machines .*cpu: Xeon -> EPYC"):
        compare(old, new)
    newer = write(
        "newer.json", benchmark("test_a", times(2)), machine=MACHINE | {"python_version": "3.13.1"}
    )
    told = compare(old, newer)[1]
    assert "note: environment: Python: CPython 3.11.7 -> CPython 3.13.1" in told


def test_seconds_alone_can_be_compared(write):
    old = write("old.json", benchmark("test_a", times(1)))
    for raw in (True, False):
        new = write("new.json", benchmark("test_a", times(2), raw=raw))
        with pytest.raises(RunError, match="test_a: has no peak 'copy' to normalise by"):
            compare(old, new, normalise=True)


def test_very_many_rounds_are_compared_by_groups_of_neighbours(write, monkeypatch):
    monkeypatch.setattr(regressions, "_MOST_VALUES", 10)
    old = write("old.json", benchmark("test_a", times(1, count=95)))
    new = write("new.json", benchmark("test_a", times(2, count=95)))
    (case,) = find_regressions(read_recording(old), read_recording(new), OPTIONS).cases
    assert case.ratio.rounds == 10
    told = compare(old, new)[1]
    assert "intervals of 1 of 1 cases are from the medians of at most 10 groups" in told


def test_damaged_times_are_refused(write):
    good = write("good.json", benchmark("test_a", times(1)))
    for data, told in ([0.1, -1.0, 0.1], r"must be finite and above 0"), (["x"], "is damaged"):
        bad = benchmark("test_a", times(2))
        bad["stats"]["data"] = data
        with pytest.raises(RunError, match=told):
            compare(good, write("bad.json", bad))
    bad = benchmark("test_a", times(2), raw=False)
    bad["stats"]["mean"] = -1.0
    with pytest.raises(RunError, match=r"test_a: mean=-1 must be finite and above 0"):
        compare(good, write("bad.json", bad))


def test_two_benchmarks_of_one_name_without_times_are_refused(write):
    good = write("good.json", benchmark("test_a", times(1)))
    bad = write("bad.json", *[benchmark("test_a", times(1), raw=False)] * 2)
    with pytest.raises(RunError, match="2 benchmarks of this name have no times to pool"):
        compare(good, bad)


def test_two_benchmarks_of_one_name_are_pooled_against_one_without_times(write):
    first, second = times(1, count=5), times(2, median_s=3e-3, count=5)
    old = write("old.json", benchmark("test_a", first), benchmark("test_a", second))
    new = write("new.json", benchmark("test_a", times(3), raw=False))
    (case,) = find_regressions(read_recording(old), read_recording(new), OPTIONS).cases
    assert case.old_s == pytest.approx(np.mean(first + second))
    assert case.ratio == ratio_of_means(summary(first + second), summary(times(3)))


def test_files_without_a_name_in_common_are_refused(write):
    old = write("old.json", benchmark("test_a", times(1)))
    new = write("new.json", benchmark("test_b", times(1)))
    with pytest.raises(RunError, match=r"no case in common: the first holds test_x\.py::test_a"):
        compare(old, new)


FILES = {
    "asv": (
        {"commit_hash": "ab12", "results": {"time_it": [[1.0]]}, "env_name": "x"},
        "of asv; com",
    ),
    "asv's list": (
        {"version": 2, "suite.time_it": {"code": "def", "type": "time", "name": "x"}},
        "asv's list of benchmarks, without times",
    ),
    "pyperf": (
        {"benchmarks": [{"runs": [{"values": [1.0]}]}], "version": "1.0"},
        "a file of pyperf",
    ),
    "google": (
        {"context": {}, "benchmarks": [{"name": "a", "real_time": 1.0}]},
        "a file of Google Benchmark",
    ),
    "hyperfine": ({"results": [{"command": "ls", "mean": 0.1}]}, "a file of hyperfine"),
}


@pytest.mark.parametrize(("content", "told"), FILES.values(), ids=FILES)
def test_files_of_other_programs_are_named(tmp_path, content, told):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    with pytest.raises(
        RunError, match=rf"a\.json: is .*{told}.* Read here are files of `alexnet be"
    ):
        read_recording(path)


# The interval from means


def summary(values):
    return Summary(
        mean_s=float(np.mean(values)),
        stddev_s=float(np.std(values, ddof=1)),
        rounds=len(values),
    )


def test_interval_of_means_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        old, new = (rng.normal(1, 0.05, count) for count in (6, 20))
        ratio = ratio_of_means(summary(old), summary(new * 0.8))
        covered += ratio.low < 1 / 0.8 < ratio.high
    assert 0.92 < covered / 400 < 0.98


def test_interval_of_means_is_welchs():
    """Against SciPy's ttest_ind(equal_var=False) of the logarithms; deviations are small."""
    old, new = times(1, count=8, noise=1e-3), times(2, count=20, noise=2e-3)
    ratio = ratio_of_means(summary(old), summary(new))
    low, high = -0.00069526, 0.00129167
    assert math.log(ratio.low) == pytest.approx(low, abs=2e-6)
    assert math.log(ratio.high) == pytest.approx(high, abs=2e-6)


def test_equal_times_without_deviation_have_an_interval_of_no_width():
    run = Summary(mean_s=0.1, stddev_s=0.0, rounds=5)
    ratio = ratio_of_means(run, run)
    assert (ratio.low, ratio.ratio, ratio.high) == (1, 1, 1)


@pytest.mark.parametrize("deviation", [1e3, 1e200, 1e308])
def test_deviation_far_above_the_mean_gives_an_interval_without_an_end(deviation):
    good = Summary(mean_s=0.1, stddev_s=0.001, rounds=5)
    ratio = ratio_of_means(good, Summary(mean_s=0.1, stddev_s=deviation, rounds=5))
    assert (ratio.low, ratio.ratio, ratio.high) == (0, 1, math.inf)


@pytest.mark.parametrize(("mean", "deviation"), [(0, 1), (math.nan, 1), (1, -1), (1, math.inf)])
def test_means_that_cannot_be_are_refused(mean, deviation):
    good = Summary(mean_s=0.1, stddev_s=0.0, rounds=5)
    bad = Summary(mean_s=mean, stddev_s=deviation, rounds=5)
    with pytest.raises(MeasurementError, match="old has mean_s="):
        ratio_of_means(bad, good)
