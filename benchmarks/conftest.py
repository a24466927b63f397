"""Fixtures of the benchmarks: a clock that workers move, gates passed once, extra columns."""

import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from cases import make_case

from alexnet_impl.cli.shared import parse_interpreters
from alexnet_impl.files import finite
from alexnet_impl.frameworks import FRAMEWORKS, is_installed
from alexnet_impl.machine.facts import machine_fingerprint
from alexnet_impl.machine.watch import MachineWatch
from alexnet_impl.measurement.case_worker import OutOfMemoryError, case_worker
from alexnet_impl.measurement.gate import check_comparable, pass_gate
from alexnet_impl.measurement.largest_batch import find_largest_batch
from alexnet_impl.measurement.measured_cases import RoundsPlan
from alexnet_impl.measurement.recording import EXTRA, EXTRA_SECOND, Interference, entry_of
from alexnet_impl.measurement.rounds import TimedSide, compare
from alexnet_impl.measurement.workloads import get_workload
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.report.bench.speeds import columns, pair_columns, table_lines
from alexnet_impl.stats.speed_ratios import FEWEST_FOR_INTERVAL

NOT_JUDGED = ("global_batch_size", "steps_per_call", "device_data", "prefetch", "drop_last")
"""Fields of a Recipe that the gate does not compare."""
ROUNDS = 5
PLAN = RoundsPlan(warm_up_s=2.0, max_rounds=6, budget_s=5.0)
PAIR_PLAN = replace(PLAN, fewest_rounds=FEWEST_FOR_INTERVAL, group_s=0.1)
"""Fewer rounds have no interval, so groups are shorter."""


class WorkerClock:
    """Clock of pytest-benchmark: shows the time that workers measured, without the channel."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


CLOCK = WorkerClock()
WATCH = pytest.StashKey[MachineWatch]()
"""Looks at the machine from before the first benchmark on."""
INTERFERENCE = pytest.StashKey[Interference]()
"""What may have interfered with the benchmarks."""
OUT_OF_MEMORY = pytest.StashKey[list]()
"""Entries of the cases that ran out of memory: pytest-benchmark keeps no row without times."""


def pytest_configure(config):
    """Run the benchmarks of a CPU where only benchmarks are named: none of them is fast."""
    if names_only_benchmarks(config) and config.option.markexpr == "fast":
        config.option.markexpr = "not gpu"


def names_only_benchmarks(config):
    """Whether the command line names paths in this folder only, and no markers."""
    flags, folder = config.invocation_params, Path(__file__).parent
    paths = [(flags.dir / name.partition("::")[0]).resolve() for name in config.args]
    has_marker = any(str(flag).startswith("-m") for flag in flags.args)
    return not has_marker and all(path.is_relative_to(folder) for path in paths)


def pytest_collection_finish(session):
    """Read the machine's facts before any framework starts its threads."""
    config = session.config
    has_benchmarks = any("benchmark" in getattr(item, "fixturenames", ()) for item in session.items)
    if has_benchmarks and not config.option.collectonly:
        stack = ExitStack()
        config.add_cleanup(stack.close)
        config.stash[WATCH] = stack.enter_context(MachineWatch(lambda _: None))


def interference_of(config):
    """What may have interfered since then; examined once, after the last benchmark."""
    if INTERFERENCE not in config.stash:
        watch = config.stash[WATCH]
        after = watch.after()
        config.stash[INTERFERENCE] = Interference(
            machine_after=after, warnings=tuple(watch.warnings)
        )
    return config.stash[INTERFERENCE]


def pytest_collection_modifyitems(items):
    """Time every case that has a worker by the worker's clock."""
    for item in items:
        if {"timed", "paired"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.benchmark(timer=CLOCK))


@pytest.fixture(scope="session")
def interpreters(pytestconfig):
    """Framework to the Python that runs it, where --interpreter names another one."""
    return parse_interpreters(tuple(pytestconfig.getoption("--interpreter", default=())))


@pytest.fixture(scope="session")
def gates():
    """Outcome of each gate, so that rows share it."""
    return {}


@pytest.fixture(scope="session")
def peaks():
    """Peaks of the calibration kernels, once for each framework, device and precision."""
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
                side = TimedSide(worker, PLAN)
                benchmark.pedantic(lambda: CLOCK.advance(side.time_call()), rounds=ROUNDS)
                measured = side.measured(peaks)
        except OutOfMemoryError as error:
            note_out_of_memory(pytestconfig, error, interpreters)
        benchmark.extra_info |= columns(measured, gate) | {EXTRA: entry_of(measured, gate)}
        return measured

    return time_case


@pytest.fixture
def paired(benchmark, gates, peaks, interpreters, pytestconfig):
    """Times two cases in turns after the gate; the table's times are the first case's.

    Gives what `alexnet bench` does: both sides, the ratio with its interval, and a verdict.
    """

    def compare_cases(first, second, plan=PAIR_PLAN):
        check_comparable(first, second)
        gate = None
        if first.config.framework != second.config.framework and get_workload(first.workload).gated:
            gate = gate_of(first, gates, interpreters)
        benchmark.group = f"{group_of(first)}, in turns"
        try:
            done = compare(first, second, plan, interpreters, lambda *_: None, peaks)
        except OutOfMemoryError as error:
            note_out_of_memory(pytestconfig, error, interpreters, beside=True)
        times = iter(done.first.times_s)
        benchmark.pedantic(lambda: CLOCK.advance(next(times)), rounds=len(done.first.times_s))
        benchmark.extra_info |= columns(done.first, gate) | pair_columns(done, gate)
        benchmark.extra_info[EXTRA] = entry_of(done.first, gate)
        benchmark.extra_info[EXTRA_SECOND] = entry_of(done.second, gate)
        return done

    return compare_cases


def group_of(case):
    """Group of a row; rows of one group may be compared."""
    config = case.config
    batch_size = config.recipe.global_batch_size
    return (
        f"{case.workload}: {config.variant} {config.width:g}x, batch {batch_size}, {config.device}"
    )


def note_out_of_memory(config, error, interpreters, *, beside=False):
    """Record a case that runs out of memory, with the largest batch that fits."""
    case = error.case
    found = find_largest_batch(case, str(error), interpreters, beside=beside)
    short = {"title": case.title, "key": case.key, "out_of_memory": found.to_dict()}
    config.stash.setdefault(OUT_OF_MEMORY, []).append(short)
    pytest.skip(str(found))


def has_gate(case, interpreters):
    """Whether a single row has a gate: not for one framework alone, nor for compiled steps."""
    recipe = case.config.recipe
    both = all(is_installed(name) or name in interpreters for name in FRAMEWORKS)
    alone = recipe.memory_layout != "channels-last" or recipe.compile_mode == "compiled"
    return get_workload(case.workload).gated and both and not alone


def gate_of(case, gates, interpreters):
    """The gate of a row's two models, remembered from the same two before."""
    # How many steps a call has and where its images lie is not compared.
    config = case.config
    recipe = replace(config.recipe, **{name: getattr(Recipe(), name) for name in NOT_JUDGED})
    key = (config.variant, config.width, config.device, config.data.image_size, recipe)
    if key not in gates:
        gates[key] = pass_gate(case, interpreters)
    return gates[key]


def pytest_benchmark_update_machine_info(config, machine_info):
    """Add the machine's facts of `alexnet bench` to pytest-benchmark's own."""
    watch = config.stash.get(WATCH, None)
    machine_info[EXTRA] = machine_fingerprint() if watch is None else watch.before


def pytest_benchmark_update_json(config, benchmarks, output_json):  # noqa: ARG001 - the hook's names
    """Add what pytest-benchmark does not keep: cases out of memory, and interference."""
    out_of_memory = config.stash.get(OUT_OF_MEMORY, [])
    output_json[EXTRA] = finite(
        {"out_of_memory": out_of_memory, **interference_of(config).to_dict()}
    )


def pytest_terminal_summary(terminalreporter, config):
    """Show the columns that pytest-benchmark's own table lacks, and the ratios."""
    session = getattr(config, "_benchmarksession", None)
    benchmarks = getattr(session, "benchmarks", ())
    rows = [bench.extra_info for bench in benchmarks if EXTRA in bench.extra_info]
    rows += [{EXTRA: short} for short in config.stash.get(OUT_OF_MEMORY, [])]
    if not rows:
        return
    terminalreporter.section("images/s, memory, % of peak FLOP/s, gate")
    for line in table_lines(rows):
        terminalreporter.write_line(line)
    for warning in interference_of(config).warnings:
        terminalreporter.write_line(f"warning: {warning}", yellow=True)
