"""Handlers of `alexnet bench`, `alexnet bench compare` and `alexnet versions`."""

import math
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from rich import box
from rich.console import Console
from rich.table import Table

from alexnet_impl.cli.flags import Bench, BenchCompare, TrainingOptions, Versions
from alexnet_impl.cli.shared import (
    check_target,
    new_folder,
    parse_interpreters,
    run_config,
    settled,
)
from alexnet_impl.compare import check_frameworks
from alexnet_impl.data.progress import Ticker
from alexnet_impl.errors import RunError, UnknownNameError
from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.machine.facts import machine_fingerprint, usable_cores
from alexnet_impl.machine.interference import interference_warnings, measure_interference
from alexnet_impl.measurement.case import Case, of_batch_size
from alexnet_impl.measurement.case_worker import OutOfMemoryError
from alexnet_impl.measurement.gate import check_comparable, pass_gate
from alexnet_impl.measurement.largest_batch import OutOfMemory, find_largest_batch
from alexnet_impl.measurement.measured_cases import Gate, MeasuredCase, MeasuredPair, RoundsPlan
from alexnet_impl.measurement.recording import (
    Interference,
    entry_of,
    read_recording,
    write_recording,
)
from alexnet_impl.measurement.regressions import RegressionOptions, find_regressions
from alexnet_impl.measurement.releases import read_environments
from alexnet_impl.measurement.rounds import compare, measure
from alexnet_impl.measurement.workloads import get_workload
from alexnet_impl.processes.precision import ask_workers
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.report.bench.regressions import regression_lines
from alexnet_impl.report.bench.releases import HEADER, conclusion, version_rows, write_versions_page
from alexnet_impl.report.bench.rounds_figure import rounds_figure
from alexnet_impl.report.bench.speeds import measured_lines, pair_lines, ratio_text
from alexnet_impl.report.figure_style import write_figure
from alexnet_impl.runs.environment import environment_fingerprint
from alexnet_impl.runs.folder import hold_new_folder
from alexnet_impl.stats.speed_ratios import Ratio
from alexnet_impl.training.pace import announcement

MOST_SIDES = 2
FIRST_ROUNDS = 2
"""Rounds after which the time of a round is known: the first one has cold caches."""


def bench_command(command: Bench, console: Console) -> int:
    """Time one side, or two in turns; the exit code is 1 if two sides have no ratio."""
    cases = [case_of(side, command) for side in command.sides]
    if not 1 <= len(cases) <= MOST_SIDES:
        raise RunError(f"bench: got {len(cases)} sides; give one or two.")
    if len(cases) == MOST_SIDES:
        check_comparable(*cases)
    plan = _plan(command)
    interpreters = parse_interpreters(command.interpreter)
    check_frameworks(interpreters, {case.config.framework for case in cases})
    folder = new_folder(command.options, "bench")
    is_new = not folder.exists()
    try:
        with hold_new_folder(folder):
            configs = settled([case.config for case in cases], ask_workers(interpreters), console)
            cases = [replace(case, config=one) for case, one in zip(cases, configs, strict=True)]
            return _record(cases, command.sides, plan, interpreters, folder, console)
    finally:
        if is_new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _record(
    cases: list[Case],
    asked: tuple[str, ...],
    plan: RoundsPlan,
    interpreters: dict[str, str],
    folder: Path,
    console: Console,
) -> int:
    """Measure, print and write the results; returns the exit code."""
    before = machine_fingerprint() | {"busy_share": measure_interference(1.0)}
    if len(cases) == 1:
        entries, pairs, code = _one(cases[0], plan, interpreters, console)
    else:
        entries, pairs, code = _two(cases, asked, plan, interpreters, console)
    machine = before | {"packages": environment_fingerprint()["packages"]}
    after = machine_fingerprint()
    interference = Interference(machine_after=after, warnings=interference_warnings(before, after))
    for warning in interference.warnings:
        console.print(f"warning: {warning}", style="yellow", soft_wrap=True)
    write_recording(folder, machine, entries, pairs, interference)
    for done, gate in pairs:
        if gate is None or gate.holds:
            write_figure(folder / "rounds.png", rounds_figure(done))
    console.print(f"Benchmark folder: {folder}", soft_wrap=True)
    return code


def case_of(side: str, command: Bench) -> Case:
    """The case of one side: FRAMEWORK[,workload=WORKLOAD][,FIELD=VALUE...]."""
    framework, *changes = side.split(",")
    if framework not in FRAMEWORKS:
        raise UnknownNameError("framework", framework, FRAMEWORKS)
    options = TrainingOptions(**vars(command.options))
    if options.dataset is None and options.data_dir is None:
        options = replace(options, dataset="synthetic")
    if command.batch_size is not None:
        recipe = replace(options.recipe, global_batch_size=command.batch_size)
        options = replace(options, recipe=recipe)
    workload, own = command.workload, dict[str, Any]()
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals:
            raise RunError(f"{side}: {change!r} must be workload=WORKLOAD or FIELD=VALUE.")
        if name == "workload":
            workload = text
        else:
            own[_field(name)] = _value(name, text)
    get_workload(workload)
    recipe = replace(options.recipe, **own)  # at once: one field may need another
    config = run_config(replace(options, recipe=recipe), framework)
    config = replace(config, threads=config.threads or usable_cores())
    case = Case(workload=workload, config=config)
    return of_batch_size(case, recipe.global_batch_size)


def _field(name: str) -> str:
    known = [field.name for field in fields(Recipe)]
    if (field := name.replace("-", "_")) not in known:
        raise UnknownNameError("recipe field", name, known)
    return field


def _value(name: str, text: str) -> Any:
    """The value of a field of the Recipe, from its text."""
    hint = get_type_hints(Recipe)[_field(name)]
    kinds = get_args(hint) or (hint,)
    if bool in kinds and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if type(None) in kinds and text.lower() == "none":
        return None
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(text)
            except ValueError:
                continue
    return text


def _plan(command: Bench) -> RoundsPlan:
    for name in ("rounds", "budget", "width_of_interval", "warm_up", "margin"):
        value, usual = getattr(command, name), getattr(Bench(), name)
        may_be_0 = name == "margin"
        if not 0 <= value < math.inf or (value == 0 and not may_be_0):
            raise RunError(
                f"--{name.replace('_', '-')} {value}: must be a finite number "
                f"{'not below' if may_be_0 else 'above'} 0; the default is {usual}."
            )
    return RoundsPlan(
        min_rounds=min(RoundsPlan().min_rounds, command.rounds),
        max_rounds=command.rounds,
        budget_s=command.budget,
        margin=command.margin,
        width=command.width_of_interval,
        warm_up_s=command.warm_up,
    )


Found = tuple[list[dict[str, Any]], list[tuple[MeasuredPair, Gate | None]], int]


def _one(case: Case, plan: RoundsPlan, interpreters: dict[str, str], console: Console) -> Found:
    try:
        done = measure(case, plan, interpreters)
    except OutOfMemoryError as error:
        return [_no_memory(error.case, str(error), interpreters, console)], [], 0
    _show(done, console)
    return [entry_of(done)], [], 0


def _two(
    cases: list[Case],
    asked: tuple[str, ...],
    plan: RoundsPlan,
    interpreters: dict[str, str],
    console: Console,
) -> Found:
    first, second = cases
    gate = _gate(first, second, interpreters, console)
    if gate is not None and not gate.holds:
        told = f"gate: {gate.outcome}. The models differ: times are shown, and no speed ratio."
        console.print(told, style="yellow", soft_wrap=True)
    try:
        with console.status("") as status:
            announce = _announcer(plan, console, status.update)
            done = compare(first, second, plan, interpreters, announce)
    except OutOfMemoryError as error:
        entry = _no_memory(error.case, str(error), interpreters, console, beside=True)
        dropped = [number for number, one in enumerate(cases) if not _same(one, error.case)]
        for number in dropped:
            alone = f"`alexnet bench {asked[number]}` with the same flags does"
            told = f"{cases[number].title}: not measured; {alone}."
            console.print(told, style="yellow", soft_wrap=True)
        return [entry], [], 1
    for side in (done.first, done.second):
        _show(side, console)
    for line in pair_lines(done, gate):
        console.print(line, soft_wrap=True)
    entries = [entry_of(side, gate) for side in (done.first, done.second)]
    return entries, [(done, gate)], 0 if gate is None or gate.holds else 1


def _announcer(
    plan: RoundsPlan,
    console: Console,
    update: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
) -> Callable[[int, Ratio], None]:
    """Shows each round; says once how long the rounds may take, in a log how far every 30 s."""
    ticker, times = Ticker(clock), list[float]()

    def announce(count: int, ratio: Ratio) -> None:
        text = f"round {count}: {ratio_text(ratio)}"
        update(text)
        times.append(clock())
        if count == FIRST_ROUNDS:
            round_s = times[-1] - times[-2]
            most_s = min(plan.max_rounds * round_s, plan.budget_s)
            what = (
                f"at most {plan.max_rounds} rounds at {round_s:.2g} s; --budget {plan.budget_s:g}"
            )
            if line := announcement(most_s, what, resume=""):
                console.print(line, soft_wrap=True)
        if not console.is_terminal and ticker.is_due():
            console.print(text, soft_wrap=True)

    return announce


def _same(asked: Case, met: Case) -> bool:
    """Whether a case is the one asked for, whose device the framework has found by now."""
    return asked.on(met.config.device) == met


def _gate(first: Case, second: Case, interpreters: dict[str, str], console: Console) -> Gate | None:
    """The gate of two frameworks; None for two sides of one framework."""
    if first.config.framework == second.config.framework:
        return None
    if not get_workload(first.workload).gated:
        return None
    with console.status("comparing both models in this precision"):
        return pass_gate(first, interpreters)


def _show(measured: MeasuredCase, console: Console) -> None:
    for line in measured_lines(measured):
        console.print(line, soft_wrap=True)


def _no_memory(
    case: Case,
    message: str,
    interpreters: dict[str, str],
    console: Console,
    *,
    beside: bool = False,
) -> dict[str, Any]:
    """The entry of a case that ran out of memory."""
    with console.status("searching the largest batch that fits"):
        found: OutOfMemory = find_largest_batch(case, message, interpreters, beside=beside)
    console.print(f"{case.title}: {found}", soft_wrap=True)
    return {
        "title": case.title,
        "key": case.key,
        "case": case.to_dict(),
        "times_s": [],
        "amount": 0,
        "unit": "images",
        "peaks": {},
        "out_of_memory": found.to_dict(),
    }


def bench_compare_command(command: BenchCompare, console: Console) -> int:
    """Print the regression report; the exit code is 1 if a case is slower or runs out of memory.

    With --strict it is 1 also if a case is undecided or missing.
    """
    options = RegressionOptions(
        threshold=command.threshold,
        threshold_for=parse_thresholds(command.threshold_for),
        confidence=command.confidence,
        normalise=command.normalise,
        allow_other_machine=command.other_machine,
    )
    done = find_regressions(read_recording(command.old), read_recording(command.new), options)
    *lines, last = regression_lines(done)
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
    fails = done.worse or (command.strict and done.doubtful)
    style = "bold red" if fails else "yellow" if done.doubtful else "green"
    console.print(last, style=style, markup=False, soft_wrap=True)
    return 1 if fails else 0


def parse_thresholds(pairs: tuple[str, ...]) -> dict[str, float]:
    """Group to threshold, from pairs GROUP=FRACTION.

    Raises:
        RunError: If one is not such a pair, or a group has two thresholds.
    """
    found: dict[str, float] = {}
    for pair in pairs:
        group, equals, share = pair.rpartition("=")
        if not equals or not group:
            raise RunError(f"--threshold-for {pair}: must be GROUP=FRACTION, as in training=0.1.")
        if group in found:
            raise RunError(f"--threshold-for {pair}: {group} already has a threshold; give one.")
        try:
            found[group] = float(share)
        except ValueError as error:
            raise RunError(
                f"--threshold-for {pair}: {share!r} must be a number, such as 0.1."
            ) from error
    return found


def versions_command(command: Versions, console: Console) -> int:
    """Print the table and write the page; the exit code is 1 if releases were not shown equal."""
    check_target("--output", command.output)
    environments, problems = read_environments(command.folder)
    # Releases side by side: a row for each would be wider than a terminal.
    table = Table(box=box.SIMPLE, show_header=False)
    for cells in zip(HEADER, *version_rows(environments), strict=True):
        table.add_row(*cells)
    console.print(table, markup=False)
    write_versions_page(command.output, environments)
    for problem in problems:
        console.print(f"left out: {problem}", style="bold red", soft_wrap=True)
    holds = all(one.holds for one in environments) and not problems
    console.print(conclusion(environments), style="green" if holds else "bold red")
    console.print(f"Page: {command.output}", soft_wrap=True)
    return 0 if holds else 1
