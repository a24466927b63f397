"""What the cases share: a clock that workers move, gates that are passed once, extra columns."""

import sys
from dataclasses import replace

import pytest
from cases import make_case

from alexnet_impl.cli.shared import parse_interpreters
from alexnet_impl.files import finite
from alexnet_impl.frameworks import FRAMEWORKS, is_installed
from alexnet_impl.machine.facts import machine_fingerprint
from alexnet_impl.machine.interference import interference_warnings, measure_interference
from alexnet_impl.measurement.case_worker import OutOfMemoryError, case_worker
from alexnet_impl.measurement.gate import check_comparable, pass_gate
from alexnet_impl.measurement.largest_batch import find_largest_batch
from alexnet_impl.measurement.recording import EXTRA, EXTRA_SECOND, Disturbed, entry_of
from alexnet_impl.measurement.rounds import Plan, Side, compare
from alexnet_impl.measurement.workloads import get_work
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.report.bench.speeds import columns, pair_columns, table_lines

NOT_JUDGED = ("global_batch_size", "steps_per_call", "device_data", "prefetch", "drop_last")
"""Fields of a Recipe that the gate does not look at."""
ROUNDS = 5
PLAN = Plan(warm_up_s=2.0, max_rounds=6, budget_s=5.0)


class WorkerClock:
    """Time as workers took it: pytest-benchmark reads this clock, and the channel costs nothing."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


CLOCK = WorkerClock()
BEFORE = pytest.StashKey[dict]()
"""The machine before the first benchmark, and how busy it was."""
DISTURBED = pytest.StashKey[Disturbed]()
"""The machine behind the last one, and what may have disturbed them."""
OUT_OF_MEMORY = pytest.StashKey[list]()
"""Entries of the cases that did not fit: pytest-benchmark keeps no row without times."""


def pytest_collection_finish(session):
    """The machine is looked at before any framework starts its threads."""
    config = session.config
    benchmarks = any("benchmark" in getattr(item, "fixturenames", ()) for item in session.items)
    if benchmarks and not config.option.collectonly:
        config.stash[BEFORE] = machine_fingerprint() | {"busy_share": measure_interference(1.0)}


def disturbed(config):
    """What the machine did since then; looked at once, behind the last benchmark."""
    if DISTURBED not in config.stash:
        before, after = config.stash.get(BEFORE, {}), machine_fingerprint()
        warnings = interference_warnings(before, after)
        config.stash[DISTURBED] = Disturbed(machine_after=after, warnings=warnings)
    return config.stash[DISTURBED]


def pytest_collection_modifyitems(items):
    """Every case with a worker is timed by the worker's clock."""
    for item in items:
        if {"timed", "paired"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.benchmark(timer=CLOCK))


@pytest.fixture(scope="session")
def interpreters(pytestconfig):
    """Framework to the Python that runs it, where --interpreter names another one."""
    return parse_interpreters(tuple(pytestconfig.getoption("--interpreter", default=())))


@pytest.fixture(scope="session")
def gates():
    """Outcome of each gate that was passed, so that rows share it."""
    return {}


@pytest.fixture(scope="session")
def peaks():
    """What the calibration kernels reached, once for each framework, device and precision."""
    return {}


@pytest.fixture
def timed(benchmark, gates, peaks, interpreters, pytestconfig):
    """Times a case in a worker process of its own, and keeps what was measured in extra_info."""

    def time_case(*what, **how):
        case = make_case(*what, **how)
        gate = gate_of(case, gates, interpreters) if has_gate(case, interpreters) else None
        benchmark.group = group_of(case)
        interpreter = interpreters.get(case.config.framework, sys.executable)
        try:
            with case_worker(case, interpreter=interpreter) as worker:
                side = Side(worker, PLAN)
                benchmark.pedantic(lambda: CLOCK.advance(side.time_call()), rounds=ROUNDS)
                measured = side.measured(peaks)
        except OutOfMemoryError as error:
            note_no_memory(pytestconfig, error, interpreters)
        benchmark.extra_info |= columns(measured, gate) | {EXTRA: entry_of(measured, gate)}
        return measured

    return time_case


@pytest.fixture
def paired(benchmark, gates, peaks, interpreters, pytestconfig):
    """Lets two cases take turns behind a gate; the table's times are the first one's.

    Gives what `alexnet bench` does: both sides, the ratio with its interval, and a verdict.
    """

    def compare_cases(first, second, plan=PLAN):
        check_comparable(first, second)
        gate = None
        if first.config.framework != second.config.framework and get_work(first.work).gated:
            gate = gate_of(first, gates, interpreters)
        benchmark.group = f"{group_of(first)}, in turns"
        try:
            done = compare(first, second, plan, interpreters, lambda *_: None, peaks)
        except OutOfMemoryError as error:
            note_no_memory(pytestconfig, error, interpreters, beside=True)
        times = iter(done.first.times_s)
        benchmark.pedantic(lambda: CLOCK.advance(next(times)), rounds=len(done.first.times_s))
        benchmark.extra_info |= columns(done.first, gate) | pair_columns(done, gate)
        benchmark.extra_info[EXTRA] = entry_of(done.first, gate)
        benchmark.extra_info[EXTRA_SECOND] = entry_of(done.second, gate)
        return done

    return compare_cases


def group_of(case):
    """Rows of one group may be compared."""
    config = case.config
    batch_size = config.recipe.global_batch_size
    return f"{case.work}: {config.variant} {config.width:g}x, batch {batch_size}, {config.device}"


def note_no_memory(config, error, interpreters, *, beside=False):
    """A case that does not fit is a result: it is recorded with the largest batch that does."""
    case = error.case
    found = find_largest_batch(case, str(error), interpreters, beside=beside)
    short = {"title": case.title, "key": case.key, "out_of_memory": found.to_dict()}
    config.stash.setdefault(OUT_OF_MEMORY, []).append(short)
    pytest.skip(str(found))


def has_gate(case, interpreters):
    """Whether a single row is worth one: not of one framework alone, nor compiled for no ratio."""
    recipe = case.config.recipe
    both = all(is_installed(name) or name in interpreters for name in FRAMEWORKS)
    alone = recipe.memory_layout != "channels-last" or recipe.compile_mode == "compiled"
    return get_work(case.work).gated and both and not alone


def gate_of(case, gates, interpreters):
    """What the gate says of this row's two models, or said of the same two before."""
    # How many steps a call has and where its images lie is not compared.
    recipe = replace(
        case.config.recipe,
        **{name: getattr(Recipe(), name) for name in NOT_JUDGED},
    )
    config = case.config
    key = (config.variant, config.width, config.device, config.data.image_size, recipe)
    if key not in gates:
        gates[key] = pass_gate(case, interpreters)
    return gates[key]


def pytest_benchmark_update_machine_info(config, machine_info):
    """The machine as `alexnet bench` describes it, beside pytest-benchmark's own facts."""
    machine_info[EXTRA] = config.stash.get(BEFORE, None) or machine_fingerprint()


def pytest_benchmark_update_json(config, benchmarks, output_json):  # noqa: ARG001 - the hook's names
    """What is no benchmark to pytest-benchmark: what did not fit, and what disturbed the others."""
    out_of_memory = config.stash.get(OUT_OF_MEMORY, [])
    output_json[EXTRA] = finite({"out_of_memory": out_of_memory, **disturbed(config).to_dict()})


def pytest_terminal_summary(terminalreporter, config):
    """The columns that pytest-benchmark's own table has no room for, and the ratios."""
    session = getattr(config, "_benchmarksession", None)
    benchmarks = getattr(session, "benchmarks", ())
    rows = [bench.extra_info for bench in benchmarks if EXTRA in bench.extra_info]
    rows += [{EXTRA: short} for short in config.stash.get(OUT_OF_MEMORY, [])]
    if not rows:
        return
    terminalreporter.section("images/s, memory, share of the peak, gate")
    for line in table_lines(rows):
        terminalreporter.write_line(line)
    for warning in disturbed(config).warnings:
        terminalreporter.write_line(f"warning: {warning}", yellow=True)
