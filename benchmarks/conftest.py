"""What the cases share: a clock that workers move, gates that are passed once, extra columns."""

from dataclasses import replace

import pytest

from alexnet_impl.frameworks import FRAMEWORKS, is_installed
from alexnet_impl.machine import machine_fingerprint
from alexnet_impl.measurement.case import Case
from alexnet_impl.measurement.gate import pass_gate
from alexnet_impl.measurement.memory import find_largest_batch, of_batch_size
from alexnet_impl.measurement.paired import Plan, Side
from alexnet_impl.measurement.record import EXTRA, entry_of
from alexnet_impl.measurement.worker import OutOfMemoryError, case_worker, usable_cores
from alexnet_impl.measurement.works import get_work, synthetic_data
from alexnet_impl.recipe import Recipe
from alexnet_impl.report.measured import columns, table_lines
from alexnet_impl.results import RunConfig

ROUNDS = 6
PLAN = Plan(warm_up_s=4.0)
RECIPE = Recipe(learning_rate=1e-3, initializer="he", last_layer_std=0.01)


class WorkerClock:
    """Time as workers took it: pytest-benchmark reads this clock, and the channel costs nothing."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


CLOCK = WorkerClock()


def pytest_collection_modifyitems(items):
    """Every case with a worker is timed by the worker's clock."""
    for item in items:
        if "timed" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.benchmark(timer=CLOCK))


@pytest.fixture(scope="session")
def gates():
    """Outcome of each gate that was passed, so that rows share it."""
    return {}


@pytest.fixture
def timed(benchmark, gates):
    """Times a case in a worker process of its own, and keeps what was measured in extra_info."""

    def time_case(work, framework, variant, *, width=1.0, device="cpu", **recipe):
        config = RunConfig(
            framework=framework,
            variant=variant,
            width=width,
            recipe=replace(RECIPE, **recipe),
            data=synthetic_data(1),
            device=device,
            threads=usable_cores(),
        )
        batch_size = config.recipe.global_batch_size
        case = of_batch_size(Case(work=work, config=config), batch_size)
        gate = gate_of(case, gates)
        benchmark.group = f"{work}: {variant} {width:g}x, batch {batch_size}, {device}"
        try:
            with case_worker(case) as worker:
                side = Side(case, worker, PLAN)
                benchmark.pedantic(lambda: CLOCK.advance(side.time_call()), rounds=ROUNDS)
                measured = side.measured()
        except OutOfMemoryError as error:
            found = find_largest_batch(case, str(error), {})
            short = {"title": case.title, "key": case.key, "out_of_memory": found.to_dict()}
            benchmark.extra_info |= {EXTRA: short}
            pytest.skip(str(found))
        benchmark.extra_info |= columns(measured, gate) | {EXTRA: entry_of(measured, gate)}
        return measured

    return time_case


def gate_of(case, gates):
    """What the gate says of this row's two models; None where there is no second framework."""
    if not get_work(case.work).gated or not all(map(is_installed, FRAMEWORKS)):
        return None
    if case.config.recipe.memory_layout != "channels-last":
        return None  # one framework's alone
    recipe = case.config.recipe
    key = (case.config.variant, case.config.width, case.config.device, recipe.precision)
    key += (recipe.optimizer, recipe.compile_mode)
    if key not in gates:
        gates[key] = pass_gate(case, {})
    return gates[key]


def pytest_benchmark_update_machine_info(config, machine_info):  # noqa: ARG001 - the hook's names
    """The machine as `alexnet bench` describes it, beside pytest-benchmark's own facts."""
    machine_info[EXTRA] = machine_fingerprint()


def pytest_terminal_summary(terminalreporter, config):
    """The columns that pytest-benchmark's own table has no room for, and the ratios."""
    session = getattr(config, "_benchmarksession", None)
    rows = [bench for bench in getattr(session, "benchmarks", ()) if EXTRA in bench.extra_info]
    if not rows:
        return
    entries = [(bench.group, bench.extra_info) for bench in rows]
    terminalreporter.section("images/s, memory, share of the peak, gate")
    for line in table_lines(entries):
        terminalreporter.write_line(line)
