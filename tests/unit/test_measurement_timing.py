"""The clock of every benchmark, on a device that only pretends to have finished."""

import itertools
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.measured import noise_config

import alexnet_impl
from alexnet_impl.frameworks.timed_call import TimedCall
from alexnet_impl.measurement import timing
from alexnet_impl.measurement.timing import amortise_call_cost, group_size, time_calls, warm_up
from alexnet_impl.measurement.workloads import WORKLOADS, workload_context
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.training import clock as training_clock
from alexnet_impl.training.clock import Clock

pytestmark = pytest.mark.fast

WORK_S = 0.004
ORDERS = (
    "train_steps",
    "put_dataset_on_device",
    "train_step",
    "infer",
    "move",
    "preprocess",
    "forward",
    "backward",
    "update",
)


class FakeTime:
    """Time that passes only while somebody sleeps: a busy machine cannot make a test fail."""

    def __init__(self):
        self.now_s = 0.0

    def sleep(self, seconds):
        self.now_s += seconds

    def perf_counter(self):
        return self.now_s


time = FakeTime()


@pytest.fixture(autouse=True)
def _fake_time(monkeypatch):
    for module in (timing, training_clock):
        monkeypatch.setattr(module, "time", time)


class AsynchronousDevice:
    """Takes orders at once and does them only while somebody waits, as a GPU seems to."""

    def __init__(self):
        self.pending_s = 0.0
        self.orders = 0

    def order(self, *_, **__):
        self.pending_s += WORK_S
        self.orders += 1
        return SimpleNamespace()

    def synchronize(self):
        time.sleep(self.pending_s)
        self.pending_s = 0.0

    def timed_call(self):
        return TimedCall(call=self.order, amount=1, unit="images", synchronize=self.synchronize)


class AsynchronousTrainer:
    """A trainer whose every method that a workload may time is an order to the device."""

    def __init__(self, device):
        self.synchronize = device.synchronize
        for name in ORDERS:
            setattr(self, name, device.order)

    @staticmethod
    def peak_memory_bytes():
        return None


def asynchronous_framework(device):
    return SimpleNamespace(
        make_trainer=lambda *_: AsynchronousTrainer(device),
        tutorial_loop=lambda *_: device.timed_call(),
        build_model=lambda *_: SimpleNamespace(),
        set_weights=lambda *_: None,
        get_weights=lambda *_: {},
    )


def test_time_is_that_of_the_work_and_not_of_the_order():
    device = AsynchronousDevice()
    assert time_calls(device.timed_call(), 5) == pytest.approx(5 * WORK_S)


def test_work_ordered_before_is_not_counted():
    device = AsynchronousDevice()
    for _ in range(10):
        device.order()
    assert time_calls(device.timed_call(), 1) == pytest.approx(WORK_S)


CONFIG = noise_config(Recipe(global_batch_size=4))
FEEDS = [{}, {"device_data": True}, {"steps_per_call": 3}]


@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("feed", FEEDS, ids=["plain", "on the device", "many steps a call"])
def test_every_workload_waits_for_its_device(name, feed):
    device = AsynchronousDevice()
    config = replace(CONFIG, recipe=replace(CONFIG.recipe, **feed))
    workload = WORKLOADS[name].prepare(workload_context(asynchronous_framework(device), config))
    device.synchronize()
    before = device.orders
    seconds = time_calls(workload, 3)
    ordered = device.orders - before
    images = WORKLOADS[name].unit == "images"
    on_device = WORKLOADS[name].passes or (WORKLOADS[name].gated and images)
    assert bool(ordered) == bool(on_device)
    assert workload.unit == WORKLOADS[name].unit
    assert seconds == pytest.approx(ordered * WORK_S)
    assert device.pending_s == 0


def test_a_clock_that_forgets_to_wait_is_seen():
    """The check above fails on a workload whose synchronize does nothing."""
    device = AsynchronousDevice()
    forgetful = replace(device.timed_call(), synchronize=lambda: None)
    assert time_calls(forgetful, 5) == 0


CLOCKS = r"perf_counter|monotonic|process_time|thread_time|time_ns\(|time\.time\(|timeit"
READERS = {
    "measurement/timing.py": {"perf_counter"},
    "measurement/rounds.py": {"monotonic"},  # whether the budget is spent
    "training/clock.py": {"perf_counter"},
    "training/run.py": {"perf_counter"},  # when to save
    "training/epoch_end.py": {"perf_counter"},  # evaluations
    "training/collapse.py": {"perf_counter"},  # the trial step
    "machine/interference.py": {"perf_counter", "process_time"},  # what others do meanwhile
    "machine/bfloat16.py": {"perf_counter"},  # one product beside another
    "processes/framework_import.py": {"perf_counter"},  # what an import takes
    "cli/parity.py": {"perf_counter"},  # what a comparison takes, imports included
    "files.py": {"time.time("},  # how old a file is
    "data/progress.py": {"monotonic"},  # when the next line is due
    "training/observers.py": {"monotonic"},  # the same
}


def test_no_other_module_reads_a_clock():
    folder = Path(alexnet_impl.__file__).parent
    found = {
        path.relative_to(folder).as_posix(): set(re.findall(CLOCKS, path.read_text()))
        for path in folder.rglob("*.py")
    }
    assert {name: clocks for name, clocks in found.items() if clocks} == READERS


def test_clock_of_a_training_waits_for_its_device():
    device = AsynchronousDevice()
    clock = Clock(AsynchronousTrainer(device))
    for _ in range(5):
        device.order()
    assert clock.lap() == pytest.approx(5 * WORK_S)
    for _ in range(5):
        device.order()
    clock.restart()  # as after an evaluation
    assert clock.lap() == 0


def test_warm_up_ends_when_times_are_steady(monkeypatch):
    falling = itertools.chain([9.0, 5.0, 3.0, 2.0], itertools.repeat(1.0))
    monkeypatch.setattr(timing, "time_calls", lambda *_: next(falling))
    done = warm_up(AsynchronousDevice().timed_call(), limit_s=1000.0)
    assert done.steady
    assert (done.first_call_s, done.call_s) == (9.0, 1.0)
    assert 10 <= len(done.times_s) < 30


def test_warm_up_ends_with_its_time_and_says_so(monkeypatch):
    times = iter(np.linspace(9, 1, 100))
    monkeypatch.setattr(timing, "time_calls", lambda *_: next(times))
    done = warm_up(AsynchronousDevice().timed_call(), limit_s=30.0)
    assert not done.steady
    assert sum(done.times_s[:-1]) < 30 <= sum(done.times_s)


def epochs_of(batches, cost_s=0.01, batch_s=0.002):
    """Calls that cost something beyond their batches, on a device that does not make one wait."""
    return TimedCall(
        call=lambda: time.sleep(cost_s + batches * batch_s),
        amount=batches,
        unit="images",
        synchronize=lambda: None,
        cost_s=cost_s,
        with_batches=epochs_of,
    )


def test_calls_grow_until_their_own_cost_is_small():
    assert 100 <= amortise_call_cost(epochs_of(1), most=1000).amount < 125


def test_calls_grow_to_what_memory_holds():
    assert amortise_call_cost(epochs_of(1), most=7).amount == 7


def test_calls_without_a_cost_are_left_as_they_are():
    workload = AsynchronousDevice().timed_call()
    assert amortise_call_cost(workload, most=1000) is workload


@pytest.mark.parametrize(
    ("call_s", "calls"), [(0.25, 1), (3.0, 1), (0.1, 3), (0.0625, 4), (0.0, 250_000_000)]
)
def test_group_lasts_long_enough_for_the_clock(call_s, calls):
    assert group_size(call_s, 0.25) == calls
