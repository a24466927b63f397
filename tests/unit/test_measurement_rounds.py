"""Rounds of two sides, what does not fit into memory, and what a worker answers."""

import math
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
from support.measured import noise_config

from alexnet_impl.errors import AlexNetError, RunError
from alexnet_impl.frameworks.timed_call import TimedCall
from alexnet_impl.measurement import case_worker as worker
from alexnet_impl.measurement import gate
from alexnet_impl.measurement import rounds as paired
from alexnet_impl.measurement.case import Case, complete_key, of_batch_size
from alexnet_impl.measurement.case_worker import CaseCalls, CaseWorker, OutOfMemoryError
from alexnet_impl.measurement.largest_batch import find_largest_batch
from alexnet_impl.measurement.measured_cases import RoundsPlan, unit_flop
from alexnet_impl.measurement.recording import EXTRA, entry_of
from alexnet_impl.measurement.timing import WarmUp
from alexnet_impl.parity.record import CheckResult
from alexnet_impl.processes.channel import Channel
from alexnet_impl.recipe.named import get_recipe
from alexnet_impl.report.bench.speeds import measured_lines, table_lines

pytestmark = pytest.mark.fast

RECIPE = replace(get_recipe("quick"), global_batch_size=64)
CASE = Case(workload="batching", config=noise_config(RECIPE))


class Calibrating:
    """A worker that counts its calibrations."""

    count, group = 0, 1

    def __init__(self, case):
        self.case, self.calibrated = case, 0

    def prepare(self):
        return worker.Prepared(preparation_s=1.0, amount=64, unit="images")

    def warm_up(self, *_):
        return WarmUp(first_call_s=1.0, times_s=(1.0,), steady=True)

    def time_group(self):
        return 1.0

    def peak(self):
        return 2.0

    def memory(self):
        return {"process": 2**30 + self.calibrated}

    def peaks(self, known):
        name = f"matmul {self.case.config.recipe.precision}"
        if name in known:
            return {}
        self.calibrated = 2**40
        Calibrating.count += 1
        return {name: 1.0}

    def round_trip_s(self):
        return 0.0

    def fingerprint(self):
        return {}


class SlowedWorker(Calibrating):
    """A worker on a machine whose speed halves in every second round."""

    def __init__(self, case):
        super().__init__(case)
        self.groups = 0

    @property
    def speed(self):
        return (1.0, 0.5)[self.groups // 2 % 2]

    def time_group(self):
        time_s = 0.1 / self.speed
        self.groups += 1
        return time_s

    def peak(self):
        return 4e12 * self.speed


class ScriptedSide:
    """A side whose groups take what a script says."""

    def __init__(self, name, times, log):
        self.name, self.times, self.log = name, times, log

    def time_group(self):
        self.log.append(self.name)
        return next(self.times)


def sides(first, second):
    log = []
    return [ScriptedSide("A", first, log), ScriptedSide("B", second, log)], log


def endless(*values):
    while True:
        yield from values


def run(first, second, plan):
    pair, log = sides(first, second)
    seen = []
    ratio = paired.take_rounds(pair, plan, lambda count, _: seen.append(count))
    assert seen == list(range(1, len(seen) + 1))
    return ratio, "".join(log)


def test_sides_take_turns_at_the_ends_of_a_round():
    _, log = run(endless(1.0), endless(2.0), RoundsPlan(min_rounds=4, max_rounds=4))
    assert log == "ABBABAABABBABAAB"


def test_rounds_end_when_the_ratio_is_known():
    ratio, log = run(endless(1.0, 1.001), endless(2.0, 2.001), RoundsPlan(min_rounds=6, width=0.01))
    assert len(log) == 4 * 6
    assert ratio.ratio == pytest.approx(2.0, rel=0.01)


def test_rounds_end_with_their_number_or_their_time(monkeypatch):
    noisy = RoundsPlan(min_rounds=6, max_rounds=9, width=1e-6)
    assert len(run(endless(1.0, 1.5, 1.2), endless(2.0, 1.1, 1.7), noisy)[1]) == 4 * 9
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(paired, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    late = replace(noisy, max_rounds=90, budget_s=25.0)
    assert (
        len(run(endless(1.0, 1.5, 1.2), endless(2.0, 1.1, 1.7), late)[1]) == 4 * 2
    )  # a third would end after 30 s


def test_the_fewest_rounds_are_taken_even_beyond_the_time(monkeypatch):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(paired, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    short = RoundsPlan(max_rounds=9, budget_s=5.0, width=1e-6, fewest_rounds=3)
    ratio, log = run(endless(1.0, 1.5, 1.2), endless(2.0, 1.1, 1.7), short)
    assert len(log) == 4 * 3
    assert math.isfinite(ratio.high)


def test_groups_of_one_side_end_with_their_number_or_their_time(monkeypatch):
    (alone, _), log = sides(endless(1.0), endless())
    paired.take_groups(alone, RoundsPlan(max_rounds=9), lambda: None)
    assert len(log) == 9
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(paired, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    paired.take_groups(alone, RoundsPlan(max_rounds=90, budget_s=25.0), lambda: None)
    assert len(log) == 9 + 2  # a third would end after 30 s


def test_peak_is_measured_in_the_rounds_beside_what_it_is_a_share_of():
    training = replace(CASE, workload="training", config=replace(CASE.config, width=1.0))
    alone = paired.TimedSide(SlowedWorker(training), RoundsPlan())
    paired.take_groups(alone, RoundsPlan(max_rounds=8), lambda: None)
    done = alone.so_far()
    assert done.peak_rounds == (4e12, 2e12, 4e12, 2e12)
    share = 64 / 0.1 * unit_flop(training) / 4e12
    assert done.fraction_of_peak == pytest.approx(share)
    assert done.fraction_of_peak_interval == pytest.approx((share, share))
    assert done.peaks == {"matmul float32": 3e12}
    entry = entry_of(done)
    assert entry["fraction_of_peak_interval"] == pytest.approx((share, share))
    text = f"{share:.2%} [{100 * share:.1f}, {100 * share:.1f}]"
    done = replace(done, memory={"process": 1, "device": None})
    assert f"{text} of peak FLOP/s" in measured_lines(done)[0]
    assert text in table_lines([{EXTRA: entry_of(done)}])[1]


def test_a_measurement_ends_within_the_time_that_its_start_leaves(monkeypatch):
    """A gate took 20 of 60 s: each warm-up has a quarter of what is left, the peaks their time."""
    now, limits = [0.0], []
    monkeypatch.setattr(paired, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(paired, "case_worker", lambda case, **_: nullcontext(Slow(case)))

    class Slow(Calibrating):
        def warm_up(self, limit_s, _):
            limits.append(limit_s)
            now[0] += limit_s
            return super().warm_up()

        def time_group(self):
            now[0] += 1.0
            return 1.0 + 0.1 * (now[0] % 3)

    plan = paired.from_now(RoundsPlan(min_rounds=3, max_rounds=40, budget_s=60.0, width=1e-9))
    now[0], rounds = 20.0, []
    paired.compare(CASE, CASE, plan, {}, lambda done: rounds.append(done.ratio.rounds))
    assert limits == [10.0, 7.5]
    assert rounds == [1, 2, 3]  # four seconds each, of 15.5
    assert now[0] + 2 * paired.CALIBRATION_S <= 60


@pytest.mark.parametrize(("remembered", "measured"), [(False, 4), (True, 2)])
def test_peaks_are_measured_once_for_each_kind_where_they_are_remembered(
    monkeypatch, remembered, measured
):
    """Two comparisons of the same two precisions; never one precision's peak for another's."""
    monkeypatch.setattr(paired, "case_worker", lambda case, **_: nullcontext(Calibrating(case)))
    monkeypatch.setattr(Calibrating, "count", 0)
    half = replace(CASE, config=replace(CASE.config, recipe=replace(RECIPE, precision="bfloat16")))
    peaks = {} if remembered else None
    for _ in range(2):
        plan = RoundsPlan(min_rounds=1, max_rounds=1)
        done = paired.compare(CASE, half, plan, {}, lambda *_: None, peaks)
        assert list(done.first.peaks) == ["matmul float32"]
        assert list(done.second.peaks) == ["matmul bfloat16"]
        assert done.first.memory == {"process": 2**30}  # without the calibration's own
    assert Calibrating.count == measured


@pytest.mark.parametrize(
    ("workload", "measured"), [("training", ["copy"]), ("batching", ["matmul float32", "copy"])]
)
def test_product_that_the_rounds_measure_is_not_measured_again(monkeypatch, workload, measured):
    asked = []

    class Kernels(Calibrating):
        def peaks(self, known):
            asked[:] = [name for name in ("matmul float32", "copy") if name not in known]
            return dict.fromkeys(asked, 1.0)

    monkeypatch.setattr(paired, "case_worker", lambda case, **_: nullcontext(Kernels(case)))
    config = replace(CASE.config, width=1.0)
    plan = RoundsPlan(max_rounds=4)
    done = paired.measure(Case(workload=workload, config=config), plan, {}, lambda _: None)
    assert asked == measured
    assert done.peaks == dict.fromkeys(measured, 1.0) | {
        "matmul float32": 2.0 if workload == "training" else 1.0,
        "copy": 1.0,
    }


def test_drift_that_hits_both_sides_is_not_taken_for_a_difference():
    times = iter([1.01**number for number in range(200)])
    ratio, _ = run(times, times, RoundsPlan(min_rounds=8, max_rounds=8))
    assert ratio.ratio == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("asked", "room", "fits"), [(64, 40, 40), (64, 1, 1), (64, 0, 0), (100, 50, 50), (64, 63, 62)]
)
def test_largest_batch_that_fits_is_found(asked, room, fits):
    def has_room(case):
        return case.config.recipe.global_batch_size <= room

    found = find_largest_batch(of_batch_size(CASE, asked), "no room", {}, has_room)
    assert found.asked == asked
    assert found.fits == fits
    assert fits < found.too_large <= asked
    assert f"out of memory at batch {asked}; {fits} fits" in str(found)


@pytest.mark.parametrize(("room", "words"), [(64, "by itself it fits"), (40, "40 fits, 42 does")])
def test_batch_that_had_no_room_beside_another_is_tried_by_itself(room, words):
    tried = []

    def has_room(case):
        tried.append(case.config.recipe.global_batch_size)
        return tried[-1] <= room

    case = of_batch_size(CASE, 64)
    found = find_largest_batch(case, "no room", {}, has_room, beside=True)
    assert tried[0] == 64
    assert found.fits == room
    assert words in str(found)


def test_batch_size_brings_images_enough():
    """And more than a cache holds where batches are drawn while they are timed."""
    for workload, images in (("training", 2000), ("training-from-pipeline", 20_000)):
        config = of_batch_size(replace(CASE, workload=workload), 500).config
        assert (config.recipe.global_batch_size, config.data.train_images) == (500, images)


@pytest.mark.parametrize("workload", ["training", "training-from-pipeline"])
def test_gate_makes_no_more_images_than_it_compares(monkeypatch, workload):
    """However large the batch is that will be timed."""
    monkeypatch.setattr(gate, "both_sides", lambda config, _: nullcontext([config]))
    seen = []
    monkeypatch.setattr(gate, "static_checks", lambda sides, *_, **__: seen.append(sides[0]) or [])
    gate.pass_gate(of_batch_size(replace(CASE, workload=workload), 10**9), {})
    assert seen[0].recipe.global_batch_size == gate.GATE_IMAGES
    assert seen[0].data.train_images == 100


@pytest.mark.parametrize(("chances", "holds", "draws"), [(0, True, 1), (2, True, 3), (3, False, 3)])
def test_gate_takes_for_chance_what_does_not_show_in_every_draw(monkeypatch, chances, holds, draws):
    seeds = []

    def checks(_, question, **__):
        seeds.append(question.recipe.seed)
        apart = 1.0 if len(seeds) <= chances else 0.0
        check = CheckResult(
            name="gradients", precision="float32", measured=apart, tolerance=0.5, reason="rounding"
        )
        return [check]

    monkeypatch.setattr(gate, "both_sides", lambda *_: nullcontext([]))
    monkeypatch.setattr(gate, "static_checks", checks)
    found = gate.pass_gate(CASE, {})
    assert found.holds is holds
    assert seeds == list(range(draws))
    assert found.outcome == ("equal" if holds else "differs: gradients 1.0e+00 > 5.0e-01")


class Refusing(Channel):
    def __init__(self, message):
        self.message = message

    def ask(self, call, values=None, arrays=None):  # noqa: ARG002 - the channel's
        raise RunError(self.message)


@pytest.mark.parametrize(
    "message",
    [
        "torch: unexpected OutOfMemoryError: CUDA out of memory. Tried to allocate 20 GiB",
        "tensorflow: unexpected ResourceExhaustedError: OOM when allocating tensor with shape[9]",
        "torch: unexpected RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED in cublasCreate",
        "tensorflow: unexpected InternalError: Dst tensor is not initialized.",
        "tensorflow: unexpected ResourceExhaustedError: {{function_node _}}",
        "torch: DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes",
        "torch: Unable to allocate 29.8 GiB for an array with shape (4000000000,)",
        "torch: MemoryError",
        "tensorflow: the worker process was killed by signal 9: it printed nothing",
    ],
)
def test_lack_of_memory_is_told_from_other_faults(message):
    with pytest.raises(OutOfMemoryError) as caught:
        CaseWorker(Refusing(message), CASE).warm_up(1.0)
    assert caught.value.case == CASE


def test_other_faults_are_none_of_memory():
    with pytest.raises(RunError) as caught:
        CaseWorker(
            Refusing("torch: the worker process ended with code 1: it printed nothing"), CASE
        ).memory()
    assert not isinstance(caught.value, OutOfMemoryError)


@pytest.fixture
def server(monkeypatch):
    adapter = SimpleNamespace(
        set_threads=lambda _: None, fingerprint=lambda device: {"device": device}
    )
    monkeypatch.setattr(worker, "get_framework", lambda _: adapter)
    monkeypatch.setattr(worker, "keep_freed_memory", lambda: True)
    made = CaseCalls()
    made.answer("start", {"framework": "torch", "device": "cpu", "threads": 2}, {})
    return made


def test_worker_prepares_warms_up_and_times(server):
    prepared, _ = server.answer("prepare", CASE.to_dict(), {})
    assert (prepared["amount"], prepared["unit"]) == (64, "images")
    ready, _ = server.answer("warm_up", {"limit_s": 0.01}, {})
    assert ready["first_call_s"] > 0
    seconds, _ = server.answer("time", {"count": 3}, {})
    assert 0 < seconds < 1
    assert server.answer("fingerprint", {}, {})[0]["threads"] == 2
    assert server.answer("memory", {}, {})[0]["process"] > 2**20


def test_memory_is_told_without_the_peaks_own(server, monkeypatch):
    sizes = [100]
    monkeypatch.setattr(worker, "process_peak_memory_bytes", lambda: sizes[-1])
    product = TimedCall(
        call=lambda: None, amount=8.0, unit="FLOP", synchronize=lambda: None, with_size=None
    )
    monkeypatch.setattr(worker, "time_calls", lambda _, count: 0.05 * count)
    adapter = worker.get_framework("torch")
    make = lambda: sizes.append(999) or product  # noqa: E731
    adapter.calibration_kernels = lambda *_: {"matmul float32": make}
    assert server.answer("peak", {"precision": "float32"}, {})[0] == 8.0 / 0.05
    assert server.answer("peak", {"precision": "float32"}, {})[0] == 8.0 / 0.05
    assert server.answer("memory", {}, {})[0]["process"] == 100


def test_calibration_is_a_median_as_the_peaks_of_the_rounds_are(server, monkeypatch):
    """Three rounds take 1, 2 and 4 seconds; a kernel that is known is not made."""
    kernel = TimedCall(call=lambda: None, amount=8.0, unit="B", synchronize=lambda: None)
    found = iter([1.0, 2.0, 4.0])
    monkeypatch.setattr(worker, "time_calls", lambda *_: next(found))
    ready = WarmUp(first_call_s=1.0, times_s=(1.0,), steady=True)
    monkeypatch.setattr(worker, "warm_up", lambda *_, **__: ready)
    adapter = worker.get_framework("torch")
    adapter.calibration_kernels = lambda *_: {"matmul float32": None, "copy": lambda: kernel}
    asked = {"precision": "float32", "known": ["matmul float32"]}
    assert server.answer("calibrate", asked, {})[0] == {"copy": 8.0 / 2.0}


@pytest.mark.parametrize(("call", "words"), [("time", "nothing was prepared"), ("x", "no such")])
def test_worker_refuses_what_it_cannot_answer(server, call, words):
    with pytest.raises(AlexNetError, match=words):
        server.answer(call, {"count": 1}, {})


def test_title_tells_what_is_not_the_default():
    recipe = replace(CASE.config.recipe, prefetch=0, fused_update=False, compile_mode="eager")
    case = replace(CASE, config=replace(CASE.config, recipe=recipe))
    assert case.title == f"{CASE.title} eager fused_update=False prefetch=0"
    assert case.key != CASE.key


@pytest.mark.parametrize(
    ("workload", "field", "value", "apart"),
    [
        ("training", "momentum", 0.0, True),
        ("training", "momentum", 0.8, False),
        ("training", "shuffle_buffer", 1000, False),
        ("batching", "shuffle_buffer", 1000, True),
        ("training", "eval_flip", True, False),
        ("full-training", "eval_flip", True, True),
    ],
)
def test_what_costs_a_work_time_sets_its_cases_apart(workload, field, value, apart):
    recipe = replace(CASE.config.recipe, nesterov=False)
    case = replace(CASE, workload=workload, config=replace(CASE.config, recipe=recipe))
    other = replace(case, config=replace(case.config, recipe=replace(recipe, **{field: value})))
    assert (case.key != other.key) is apart
    assert (case.title != other.title) is apart


def test_a_key_of_an_older_release_is_completed():
    old = {name: value for name, value in CASE.key.items() if name != "steps_per_call"}
    assert complete_key({"key": old}) == CASE.key


@pytest.mark.parametrize(
    ("found", "kind"), [("cpu", "cpu"), ("cuda", "gpu"), ("mps", "gpu"), ("gpu", "gpu")]
)
def test_a_worker_tells_the_device_that_it_found(monkeypatch, found, kind):
    adapter = SimpleNamespace(set_threads=lambda _: None, fingerprint=lambda _: {"device": found})
    monkeypatch.setattr(worker, "get_framework", lambda _: adapter)
    asked = {"framework": "torch", "device": "auto", "threads": 2}
    assert CaseCalls().answer("start", asked, {})[0] == kind
    assert CASE.on(kind).key["device"] == kind


def test_cases_of_one_thing_share_a_key_whatever_their_seed():
    config = replace(CASE.config, recipe=replace(CASE.config.recipe, seed=5, learning_rate=0.3))
    assert replace(CASE, config=config).key == CASE.key
    assert CASE.of("tensorflow").key != CASE.key
    assert Case.from_dict(CASE.to_dict()) == CASE


def test_sides_are_compared_per_image_whatever_a_call_holds():
    """One call of keras.Model.fit is an epoch of several batches."""

    class ConstantWorker:
        group, case = 1, CASE

        def __init__(self, call_s, amount):
            self.call_s, self.amount = call_s, amount

        def prepare(self):
            return SimpleNamespace(amount=self.amount, unit="images", preparation_s=0.0)

        def warm_up(self, *_):
            return None

        def time_group(self):
            return self.call_s

    plan = RoundsPlan(min_rounds=3, max_rounds=3)
    pair = [
        paired.TimedSide(ConstantWorker(1.0, 64), plan),
        paired.TimedSide(ConstantWorker(8.0, 256), plan),
    ]
    ratio = paired.take_rounds(pair, plan, lambda *_: None)
    assert ratio.ratio == pytest.approx(2.0)
    assert pair[1].times_s == [8.0] * 6
