"""Two benchmark files side by side: what is the same case, what is slower, and what is refused.

Times are simulated; files are written and read as benchmarks do it. The last tests break the check
and see it miss what it must find.
"""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import tyro
from rich.console import Console
from support.measured import noise_config, pair, side
from support.tables import shown

from alexnet_impl.cli.bench import bench_compare_command, parse_thresholds
from alexnet_impl.cli.flags import BenchCompare
from alexnet_impl.errors import RunError, UnknownNameError
from alexnet_impl.measurement import regressions as comparison
from alexnet_impl.measurement.case import Case
from alexnet_impl.measurement.recording import (
    EXTRA,
    Interference,
    entry_of,
    read_recording,
    write_recording,
)
from alexnet_impl.measurement.regressions import RegressionOptions, find_regressions
from alexnet_impl.recipe.named import get_recipe
from alexnet_impl.report.bench.regressions import regression_lines
from alexnet_impl.stats import speed_ratios as statistics
from alexnet_impl.stats.speed_ratios import independent_ratio

pytestmark = pytest.mark.fast

MACHINE = {"cpu": "Xeon", "usable_cpus": 2, "memory_bytes": 2**33, "kernel": "6.1"}
FASTER_MACHINE = MACHINE | {"cpu": "EPYC"}
PEAKS = {"matmul float32": 1e11, "matmul bfloat16": 4e11, "copy": 1e10}
VERSIONS = {"torch": "2.9.0", "threads": 2}
BATCH_SIZE = 128
VALUES = 12
NOISE = 0.01
OPTIONS = RegressionOptions()
TITLE = "training torch cifar b128 float32"


def times(seed, *, median_s=0.1, count=VALUES):
    noise = np.random.default_rng(seed).standard_normal(count)
    return tuple((median_s * np.exp(NOISE * noise)).tolist())


def case(workload="training", *, variant="cifar", framework="torch", threads=None, **recipe):
    recipe = replace(get_recipe("quick"), global_batch_size=BATCH_SIZE, **recipe)
    where = {"variant": variant, "framework": framework, "threads": threads}
    return Case(workload=workload, config=noise_config(recipe, width=1.0, **where))


def entry(given, times_s, **changes):
    """The entry of a case, as a benchmark writes it."""
    measured = side("torch", *times_s, case=given, peaks=PEAKS, framework=VERSIONS)
    return entry_of(measured) | changes


@pytest.fixture
def recording(tmp_path):
    """Writes a folder of `alexnet bench` and reads it."""

    def make(name, *entries, machine=MACHINE):
        (tmp_path / name).mkdir()
        write_recording(tmp_path / name, machine, list(entries), [])
        return read_recording(tmp_path / name)

    return make


@pytest.fixture
def one(recording):
    """A recording of the training case alone."""

    def make(name, times_s, machine=MACHINE, **changes):
        return recording(name, entry(case(), times_s) | changes, machine=machine)

    return make


def run(old, new, **flags):
    """The exit code and what is printed."""
    told = io.StringIO()
    command = BenchCompare(old=old.path, new=new.path, **flags)
    return bench_compare_command(command, Console(file=told, width=200)), told.getvalue()


# Slower or not


def test_noise_is_no_regression(one):
    code, told = run(one("old", times(1)), one("new", times(2)))
    assert code == 0
    assert TITLE in told
    assert "0 regressions beyond 5% in 1 case: 1 shown to have none." in told


@pytest.mark.slow
def test_alike_runs_are_flagged_in_at_most_5_percent(recording, monkeypatch):
    """Without a threshold to hide behind: it is the interval that keeps quiet."""
    monkeypatch.setattr(statistics, "RESAMPLES", 1000)  # as many as the cases have time for
    cases = [case(threads=threads) for threads in range(1, 101)]
    old, new = (
        recording(name, *(entry(c, times((seed, k))) for k, c in enumerate(cases)))
        for name, seed in (("old", 1), ("new", 2))
    )
    done = find_regressions(old, new, RegressionOptions(threshold=0.0))
    assert len(done.cases) == 100
    assert len(done.regressions) <= 0.05 * 100


def test_slowdown_of_one_case_is_caught_and_named(recording):
    cases = [case(), case("inference"), case(framework="tensorflow")]
    old = recording("old", *(entry(c, times(k)) for k, c in enumerate(cases)))
    slowed = [entry(c, times(10 + k)) for k, c in enumerate(cases)]
    slowed[1] = entry(cases[1], times(11, median_s=0.11))
    new = recording("new", *slowed)
    found = find_regressions(old, new, OPTIONS)
    assert [c.title for c in found.regressions] == ["inference torch cifar b128 float32"]
    assert [c.verdict for c in found.cases] == ["undecided", "slower", "undecided"]
    assert found.regressions[0].ratio.ratio == pytest.approx(1 / 1.1, rel=0.02)
    code, told = run(old, new)
    assert code == 1
    flagged = [line for line in told.splitlines() if "REGRESSION" in line]
    assert len(flagged) == 1
    assert flagged[0].strip().startswith("inference torch cifar")
    assert "1 regression beyond 5% in 3 cases: 2 shown to have none." in told


def test_slower_within_the_threshold_is_said_and_lets_pass(one):
    done = find_regressions(one("old", [0.1] * 6), one("new", [0.104] * 6), OPTIONS)
    assert done.cases[0].verdict == "slower"
    assert not done.cases[0].regression
    assert done.cases[0].cleared


@pytest.mark.parametrize(("share", "regression"), [(0.099, True), (0.101, False)])
def test_threshold_is_a_share_of_the_old_time(one, share, regression):
    old, new = one("old", [0.1] * 6), one("new", [0.11] * 6)
    done = find_regressions(old, new, RegressionOptions(threshold=share))
    assert done.cases[0].regression is regression
    assert done.cases[0].cleared is not regression


def test_regression_is_called_slower_whatever_the_margin(one):
    options = RegressionOptions(threshold=0.01, margin=0.5)
    done = find_regressions(one("old", [0.1] * 6), one("new", [0.11] * 6), options)
    assert (done.cases[0].regression, done.cases[0].verdict) == (True, "slower")


def test_faster_is_no_regression(one):
    code, told = run(one("old", [0.1] * 6), one("new", [0.05] * 6))
    assert code == 0
    line = next(line for line in told.splitlines() if line.strip().startswith(TITLE))
    assert line.split()[5:] == ["1,280", "2,560", "2.000", "[2.000,", "2.000]", "faster"]


def test_too_few_values_are_undecided_and_never_pass_for_cleared(one):
    old, new = one("old", times(1, count=2)), one("new", times(2, median_s=0.5, count=2))
    code, told = run(old, new)
    assert code == 0
    assert "[none: 2 values]" in told
    assert "0 shown to have none, 1 undecided" in told
    assert run(old, new, strict=True)[0] == 1


@pytest.mark.parametrize(
    ("cases", "count", "colour"),
    [((case(),), 12, "32"), ((case(),), 2, "33"), ((case(), case("update")), 12, "33")],
    ids=["shown to have none", "undecided", "one lost"],
)
def test_only_what_was_shown_to_have_no_regression_is_green(recording, cases, count, colour):
    old = recording("old", *(entry(c, times(1, count=count)) for c in cases))
    new = recording("new", entry(case(), times(2, count=count)))
    told = io.StringIO()
    console = Console(file=told, width=80, force_terminal=True, highlight=False)
    assert bench_compare_command(BenchCompare(old=old.path, new=new.path), console) == 0
    assert told.getvalue().splitlines()[-1].startswith(f"\x1b[{colour}m")
    assert run(old, new, strict=True)[0] == (0 if colour == "32" else 1)


def test_lost_cases_are_counted(recording):
    old = recording("old", *(entry(c, times(1)) for c in (case(), case("update"))))
    told = run(old, recording("new", entry(case(), times(2))))[1]
    assert "1 shown to have none; 1 of OLD is missing in NEW." in told


def test_confidence_widens_the_interval(one):
    old, new = one("old", times(1)), one("new", times(2))
    narrow, wide = (
        find_regressions(old, new, RegressionOptions(confidence=share)).cases[0].ratio
        for share in (0.8, 0.99)
    )
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": -0.1}, "threshold=-0.1 must be finite and at least 0"),
        ({"threshold": float("nan")}, "threshold=nan must be"),
        ({"threshold_for": {"training": -1.0}}, "threshold of training=-1 must be"),
        ({"margin": float("inf")}, "margin=inf must be"),
        ({"confidence": 95}, "confidence=95 must lie between 0 and 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(RunError, match=message):
        RegressionOptions(**options)


# Thresholds of groups


def test_groups_and_workloads_have_thresholds_of_their_own(recording):
    cases = [case(), case(variant="slim"), case("inference"), case("update")]
    old = recording("old", *(entry(c, [0.1] * 6) for c in cases))
    new = recording("new", *(entry(c, [0.11] * 6) for c in cases))
    own = ("training=0.2", "training/slim=0.01", "inference/cifar=0.15")
    code, told = run(old, new, threshold_for=own)
    assert code == 1
    flagged = [line.split()[:3] for line in told.splitlines() if "REGRESSION" in line]
    assert flagged == [["training", "torch", "slim"], ["update", "torch", "cifar"]]
    assert (
        "2 regressions beyond 5% (inference/cifar 15%, training/cifar 20%, training/slim 1%) "
        "in 4 cases" in told
    )


def test_threshold_of_a_group_that_is_not_there_is_refused(one):
    options = RegressionOptions(threshold_for={"trainin": 0.1})
    with pytest.raises(
        UnknownNameError, match=r"Unknown group 'trainin'\. Did you mean 'training'"
    ):
        find_regressions(one("old", times(1)), one("new", times(2)), options)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (("training",), "--threshold-for training: must be GROUP=FRACTION"),
        (("=0.1",), "--threshold-for =0.1: must be GROUP=FRACTION"),
        (("training=10%",), "'10%' must be a number"),
        (("training=0.1", "training=0.2"), "training already has a threshold"),
    ],
)
def test_thresholds_that_are_none_are_refused(pairs, message):
    with pytest.raises(RunError, match=message):
        parse_thresholds(pairs)


def test_flags_are_read():
    given = ["a", "b", "--threshold-for", "training=0.1", "update=0.2", "--normalise"]
    found = tyro.cli(BenchCompare, args=given)
    assert (found.old.name, found.new.name, found.normalise) == ("a", "b", True)
    assert parse_thresholds(found.threshold_for) == {"training": 0.1, "update": 0.2}


# What is the same case


def test_case_of_another_name_is_the_same_case(one):
    old = one("old", times(1), title="test_training[torch]")
    new = one("new", times(2, median_s=0.11), title="training step")
    done = find_regressions(old, new, OPTIONS)
    assert [c.title for c in done.regressions] == ["training step"]
    assert done.only_old == done.only_new == ()


def test_another_version_of_a_framework_is_the_same_case_with_a_label(one):
    old = one("old", times(1))
    new = one("new", times(2), framework=VERSIONS | {"torch": "2.10.0"})
    done = find_regressions(old, new, OPTIONS)
    assert len(done.cases) == 1
    assert done.labels == ("torch: torch: 2.9.0 -> 2.10.0",)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"threads": 4}, "threads=4"),
        ({"input_size": 67}, "input_size=67"),
        ({"clip_norm": 1.0}, "clip_norm=1"),
        ({"trainable": "head"}, "trainable=head"),
        ({"dropout_masks": "shared"}, "dropout_masks=shared"),
        ({"weight_decay": 0.1}, "weight_decay=0.1"),
        ({"resize": "nearest"}, "resize=nearest"),
        ({"resize_to": 40}, "resize_to=40"),
        ({"nesterov": False}, "nesterov=False"),
        ({"label_smoothing": 0.1}, "label_smoothing=0.1"),
        ({"rate_factors": ("fc1=2",)}, "rate_factors=fc1=2"),
    ],
)
def test_what_decides_the_time_sets_cases_apart_and_is_named(recording, change, word):
    shared = case("inference")
    old = recording("old", entry(shared, times(1)), entry(case(), times(2)))
    new = recording("new", entry(shared, times(3)), entry(case(**change), times(4, median_s=1)))
    done = find_regressions(old, new, OPTIONS)
    assert [c.title for c in done.cases] == ["inference torch cifar b128 float32"]
    (title,) = done.only_new
    assert title in (f"{TITLE} {word}", f"{TITLE} ({word})")
    assert len(done.only_old) == 1
    told = regression_lines(done)
    assert f"only in OLD: {done.only_old[0]}" in told
    assert f"only in NEW: {done.only_new[0]}" in told


def test_repetitions_in_one_file_are_pooled_and_said_to_be(recording):
    old = recording("old", entry(case(), [0.1] * 4), entry(case(), [0.2] * 6))
    new = recording("new", entry(case(), [0.1] * 4))
    done = find_regressions(old, new, OPTIONS)
    assert [c.old_s for c in done.cases] == [pytest.approx(0.2 / BATCH_SIZE)]
    assert done.labels == (f"OLD: {TITLE}: 2 entries of this case are pooled.",)


def test_repetitions_of_two_versions_are_said_to_be(recording):
    newer = entry(case(), times(1), framework={"torch": "2.10.0"})
    old = recording("old", entry(case(), times(2)), newer)
    found = find_regressions(old, recording("new", entry(case(), times(3))), OPTIONS)
    assert f"OLD: {TITLE}: 2 entries of this case are pooled, of differing frameworks." in (
        found.labels
    )


def test_calls_of_another_amount_are_compared_by_the_image(one):
    old, new = one("old", [0.1] * 6), one("new", [0.8] * 6, amount=8 * BATCH_SIZE)
    assert find_regressions(old, new, OPTIONS).cases[0].ratio.ratio == pytest.approx(1)


def test_other_units_are_refused_and_rates_say_theirs(one):
    old, new = one("old", [0.5] * 6, unit="models", amount=1), one("new", [0.1] * 6)
    with pytest.raises(
        RunError, match=r"new/bench.json: .* counted in images, but in models in .*old"
    ):
        find_regressions(old, new, OPTIONS)
    assert "2 models/s" in shown(*regression_lines(find_regressions(old, old, OPTIONS)))


def test_files_with_nothing_in_common_are_refused(recording):
    old = recording("old", entry(case(), times(1)))
    new = recording("new", entry(case(threads=4), times(2)))
    words = r"no case in common: .*threads=None.* second .*threads=4.* differ in threads: None -> 4"
    with pytest.raises(RunError, match=words):
        find_regressions(old, new, OPTIONS)


@pytest.mark.parametrize(
    ("given", "flip", "apart"),
    [
        (case(), True, False),
        (case(device_data=True), True, True),
        (case("training-from-pipeline"), True, True),
    ],
    ids=["ready batches", "cut on the device", "drawn"],
)
def test_flips_set_only_those_apart_that_draw_batches(given, flip, apart):
    config = given.config
    flipped = replace(given, config=replace(config, recipe=replace(config.recipe, flip=flip)))
    assert (flipped.key != given.key) is apart
    assert (flipped.title != given.title) is apart


def test_images_stored_in_another_size_set_cases_apart():
    given = case()
    data = replace(given.config.data, image_size=64)
    large = replace(given, config=replace(given.config, data=data))
    assert large.key != given.key
    assert large.title == f"{TITLE} image_size=64"


def test_entry_of_an_older_release_is_the_same_case(recording):
    """Its key had the device as it was asked for, crops that no step made, and fewer fields."""
    given = case(clip_norm=1.0)
    now = entry(given, times(1), framework=VERSIONS | {"device": "cpu"})
    fewer = {name: value for name, value in given.key.items() if name != "clip_norm"}
    before = now | {"key": fewer | {"device": "auto", "crop_padding": 1}}
    new = recording("new", now)
    assert len(find_regressions(recording("old", before), new, OPTIONS).cases) == 1
    with pytest.raises(RunError, match=r"differ in clip_norm: None -> 1\.0"):
        find_regressions(recording("other", entry(case(), times(1))), new, OPTIONS)


@pytest.mark.parametrize(
    ("former", "workload"),
    [
        ("training", "training"),
        ("treatment", "preprocessing"),
        ("plain-training", "tutorial-loop"),
    ],
)
def test_file_that_calls_a_workload_work_is_read(recording, former, workload):
    """The form of files written before the workload had its name."""
    now = entry(case(workload), times(1))
    key = {name: value for name, value in now["key"].items() if name != "workload"}
    given = {"work": former, "config": now["case"]["config"]}
    before = recording("old", now | {"key": key | {"work": former}, "case": given})
    assert before.entries[0].key["workload"] == workload
    assert len(find_regressions(before, recording("new", now), OPTIONS).cases) == 1


def test_doubtful_times_and_gates_are_labelled(one):
    gate = {"outcome": "differs: logits", "holds": False, "checks": []}
    new = one("new", times(2), warnings=["Only 3 values."], gate=gate)
    assert find_regressions(one("old", times(1)), new, OPTIONS).labels == (
        f"NEW: {TITLE}: the frameworks were not equal: differs: logits",
        f"NEW: {TITLE}: Only 3 values.",
    )


# Machines


def test_another_machine_is_refused_with_what_differs(one):
    old, new = one("old", times(1)), one("new", times(2), FASTER_MACHINE)
    with pytest.raises(RunError, match=r"different machines \(cpu: Xeon -> EPYC\).*--normalise"):
        find_regressions(old, new, OPTIONS)


def test_machines_that_nobody_knows_are_refused(one):
    old, new = one("old", times(1), {}), one("new", times(2), {})
    with pytest.raises(RunError, match="neither file names its machine"):
        find_regressions(old, new, OPTIONS)


def test_another_machine_is_labelled_where_it_is_allowed(one):
    old, new = one("old", times(1)), one("new", times(2, median_s=0.2), FASTER_MACHINE)
    code, told = run(old, new, other_machine=True)
    assert code == 1
    assert "note: another machine: cpu: Xeon -> EPYC" in told


def test_other_software_is_labelled_and_never_refused(one):
    old, new = one("old", times(1)), one("new", times(2), MACHINE | {"kernel": "6.8"})
    assert find_regressions(old, new, OPTIONS).labels == ("kernel: 6.1 -> 6.8",)


@pytest.mark.parametrize(
    ("given", "kernel"),
    [
        (case(), "matmul float32"),
        (case(precision="bfloat16"), "matmul bfloat16"),
        (case("update"), "copy"),
    ],
    ids=["training", "bfloat16", "update"],
)
@pytest.mark.parametrize(("slowdown", "code"), [(1.0, 0), (1.1, 1)])
def test_machine_twice_as_fast_is_divided_out(recording, given, kernel, slowdown, code):
    peaks = PEAKS | {kernel: 2 * PEAKS[kernel]}
    old = recording("old", entry(given, times(1)))
    times_s = times(2, median_s=0.05 * slowdown)
    new = recording("new", entry(given, times_s, peaks=peaks), machine=FASTER_MACHINE)
    found, told = run(old, new, normalise=True)
    assert found == code
    assert f"by {kernel}" in told
    assert "note: another machine: cpu: Xeon -> EPYC" in told
    assert "note: Ratios are of times in machine units" in told
    row = find_regressions(old, new, RegressionOptions(normalise=True)).cases[0]
    assert row.ratio.ratio == pytest.approx(1 / slowdown, rel=0.02)
    assert row.old_s == pytest.approx(0.1 / BATCH_SIZE, rel=0.02)
    assert row.new_s == pytest.approx(0.05 * slowdown / BATCH_SIZE, rel=0.02)


def test_peaks_of_two_kinds_make_no_machine_units(recording, one):
    earlier = entry(case(), times(1))
    del earlier["peak_rounds"]
    old, new = recording("old", earlier), one("new", times(2))
    with pytest.raises(RunError, match=r"/old/.* best of three rounds,.*/new/.* are medians"):
        find_regressions(old, new, RegressionOptions(normalise=True))
    assert find_regressions(old, new, OPTIONS).cases
    assert find_regressions(old, old, RegressionOptions(normalise=True)).cases


def test_times_are_scaled_only_when_asked(one):
    old, new = one("old", times(1)), one("new", times(2), peaks={})
    done = find_regressions(old, new, OPTIONS)
    assert done.labels == ()
    assert done.cases[0].scaled_by == ""


@pytest.mark.parametrize(
    ("peaks", "message"),
    [
        ({"copy": 1e10}, "has no peak 'matmul float32' to normalise by"),
        ({"matmul float32": 0.0}, "peak 'matmul float32'=0 must be finite and above 0"),
    ],
)
def test_missing_peak_is_refused(one, peaks, message):
    old, new = one("old", times(1)), one("new", times(2), peaks=peaks)
    with pytest.raises(RunError, match=f"new/bench.json: {TITLE}: {message}"):
        find_regressions(old, new, RegressionOptions(normalise=True))


# Files


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times_s": []}, r"new/bench.json: training .*: times_s has shape \(0,\)"),
        ({"times_s": [0.1, 0.0]}, r"new/bench.json: training .*: times_s\[1\]=0.0 must be finite"),
        (
            {"times_s": [0.1, float("nan")]},
            r"is damaged: times_s\[1\]=None: expected float, got null",
        ),
        (
            {"times_s": "1234"},
            "new/bench.json: is damaged: times_s='1234': expected array, got str",
        ),
        ({"times_s": ["0.1"]}, r"is damaged: times_s\[0\]='0.1': expected float, got str"),
        ({"peaks": [1]}, r"is damaged: peaks=\[1\]: expected object, got array"),
        ({"peaks": {"copy": "fast"}}, r"is damaged: peaks\[...\]: expected float, got str"),
        ({"amount": None}, "is damaged: amount=None: expected float, got null"),
        ({"unit": 3}, "is damaged: unit=3: expected str, got int"),
        ({"amount": 0}, "new/bench.json: training .*: amount=0 must be finite and above 0"),
        (
            {"key": {"workload": "training"}},
            r"new/bench.json: training .*: the key has variant=None",
        ),
        (
            {"key": None},
            "new/bench.json: is damaged: key: None: expected object, got null; measure again",
        ),
    ],
)
def test_damaged_entry_ends_in_one_error(one, recording, changes, message):
    old = one("old", times(1))
    with pytest.raises(RunError, match=message):
        find_regressions(old, recording("new", entry(case(), times(2)) | changes), OPTIONS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema_version": 1, "mach', "is not a benchmark file, or is damaged"),
        ("", "is not a benchmark file, or is damaged"),
        ("[]", "is not a benchmark file; `alexnet bench` writes one"),
        ('{"hello": 1}', "is not a benchmark file; `alexnet bench` writes one"),
        ('{"schema_version": 99}', "has schema_version=99; this release reads 1; measure again"),
        ('{"schema_version": 1}', "is damaged: 'measured' is missing; measure again"),
        ('{"schema_version": 1, "machine": {}, "measured": []}', "holds no measured case"),
        ('{"benchmarks": [], "machine_info": {}}', "holds no measured case"),
        ('{"benchmarks": 3, "machine_info": {}}', "is damaged"),
        (
            '{"benchmarks": [], "machine_info": "x"}',
            "is damaged: machine_info: 'x': expected object",
        ),
        (None, "no such file"),
    ],
)
def test_damaged_file_is_refused(one, tmp_path, text, message):
    path = tmp_path / "damaged.json"
    if text is not None:
        path.write_text(text)
    old = one("old", times(1))
    with pytest.raises(RunError, match=f"damaged.json: {message}"):
        bench_compare_command(BenchCompare(old=old.path, new=path), Console(quiet=True))


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        (None, "machine=None must be an object"),
        ("Xeon", "machine='Xeon' must be an object"),
        (MACHINE | {"gpus": ["x"]}, "gpus holds 'x', which must be an object"),
        (MACHINE | {"gpus": 3}, "gpus=3 of the machine must be a list"),
        (MACHINE | {"memory_bytes": "big"}, "memory_bytes='big' of the machine must be a number"),
        (MACHINE | {"variables": []}, r"variables=\[\] of the machine must be an object"),
    ],
)
def test_damaged_machine_is_refused(recording, machine, message):
    with pytest.raises(RunError, match=f"new/bench.json: is damaged: {message}; measure again"):
        recording("new", entry(case(), times(1)), machine=machine)


@pytest.mark.parametrize("pair", [3, {"gate": None, "ratio": {"ratio": "fast"}}, {}])
def test_damaged_pair_is_refused(tmp_path, pair):
    write_recording(tmp_path, MACHINE, [entry(case(), times(1))], [])
    file = tmp_path / "bench.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"compared": [pair]}))
    with pytest.raises(RunError, match=r"bench\.json: is damaged: .*measure again"):
        read_recording(tmp_path)


def test_what_disturbed_a_file_is_a_note_beside_its_figures(one, tmp_path):
    (tmp_path / "new").mkdir()
    interference = Interference(
        machine_after=MACHINE, warnings=("Other processes kept cores busy.",)
    )
    entries = [entry(case(), times(2))]
    write_recording(tmp_path / "new", MACHINE, entries, [], interference)
    new = read_recording(tmp_path / "new")
    assert new.interference == interference
    assert "note: NEW: Other processes kept cores busy." in run(one("old", times(1)), new)[1]


@pytest.mark.parametrize(
    ("pairs", "rounds"), [([], "4 rounds"), ([(pair(), None)], "2 rounds")], ids=["one", "pair"]
)
def test_rows_of_a_bench_that_was_stopped_say_so(one, tmp_path, pairs, rounds):
    (tmp_path / "new").mkdir()
    entries = [entry(case(), times(2)[:4])]
    write_recording(tmp_path / "new", MACHINE, entries, pairs, complete=False)
    lines = run(one("old", times(1)), read_recording(tmp_path / "new"))[1]
    said = [line for line in lines.splitlines() if "stopped" in line]
    assert said == [f"note: NEW: {case().title}: the bench was stopped after {rounds}."]


def test_file_written_before_benches_said_whether_they_ended_is_taken_as_complete(one, tmp_path):
    found = one("old", times(1))
    file = tmp_path / "old" / "bench.json"
    content = json.loads(file.read_text())
    del content["complete"]
    file.write_text(json.dumps(content))
    assert found.complete
    assert read_recording(file).complete


def pytest_benchmark_file(path, entries, machine=MACHINE):
    """A file as pytest-benchmark 5 writes it; one benchmark is not ours."""
    benchmarks = [
        {
            "group": None,
            "name": name,
            "fullname": f"benchmarks/test_speed.py::{name}",
            "params": None,
            "param": None,
            "extra_info": {} if plain is None else {EXTRA: plain},
            "options": {"disable_gc": False, "timer": "perf_counter", "warmup": False},
            "stats": {"min": 1.0, "max": 1.0, "mean": 1.0, "median": 1.0, "rounds": 5},
        }
        for name, plain in entries.items()
    ]
    plain = {
        "machine_info": {"node": "here", "cpu": {"count": 2}, EXTRA: machine},
        "commit_info": {"id": "unknown", "dirty": False},
        "benchmarks": benchmarks,
        "datetime": "2025-01-01T00:00:00+00:00",
        "version": "5.1.0",
    }
    path.write_text(json.dumps(plain))
    return path


def test_pytest_benchmarks_file_is_compared_with_one_of_alexnet_bench(one, tmp_path):
    slow = entry(case(), times(2, median_s=0.11))
    path = pytest_benchmark_file(tmp_path / "new.json", {"test_slow": slow, "test_other": None})
    done = find_regressions(one("old", times(1)), read_recording(path), OPTIONS)
    assert [c.title for c in done.regressions] == [TITLE]


# The check can fail


def slowed(recording):
    """Training has become 10 % slower and was called something else meanwhile."""
    same = case("inference")
    old = recording("old", entry(same, times(1)), entry(case(), times(2), title="test_training"))
    times_s = times(4, median_s=0.11)
    new = recording("new", entry(same, times(3)), entry(case(), times_s, title="test_step"))
    return old, new


def test_slowdown_is_found_under_another_name(recording):
    assert run(*slowed(recording))[0] == 1


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("_identity", lambda found: (("name", found.title),)),
        ("independent_ratio", lambda old, new, **rest: independent_ratio(new, old, **rest)),
        ("independent_ratio", lambda old, _, **rest: independent_ratio(old, old, **rest)),
        ("verdict", lambda *_: "undecided"),
    ],
    ids=["matched by name", "sides swapped", "OLD with itself", "no verdict"],
)
def test_broken_check_misses_it(recording, monkeypatch, name, broken):
    monkeypatch.setattr(comparison, name, broken)
    assert run(*slowed(recording))[0] == 0


def test_check_by_medians_alone_flags_alike_runs():
    """What the interval is for: a bare ratio of medians alarms at noise in half of all cases."""
    pairs = [(times((1, k)), times((2, k))) for k in range(200)]
    flagged = sum(np.median(new) > np.median(old) for old, new in pairs)
    assert flagged > 0.3 * len(pairs)


def too_large(given):
    """The entry of a case that ran out of memory."""
    return {"title": "training", "key": given.key, "out_of_memory": {"asked": 9, "fits": 4}}


def test_case_that_does_not_fit_any_more_is_named_and_fails(one, recording):
    old = one("old", times(1))
    new = recording("new", too_large(case()))
    assert new.entries == ()
    code, told = run(old, new)
    assert code == 1
    assert "out of memory in NEW: training torch" in told


def test_what_fits_in_neither_file_is_no_regression(recording):
    old, new = (recording(name, too_large(case())) for name in ("old", "new"))
    code, told = run(old, new)
    assert code == 0
    assert "note: 1 more fit into memory in neither file" in told


def test_a_file_in_which_nothing_fits_has_nothing_in_common(one, recording):
    old = one("old", times(1))
    with pytest.raises(RunError, match="the second none that fits into memory; measure the same"):
        find_regressions(old, recording("new", too_large(case(threads=4))), OPTIONS)
