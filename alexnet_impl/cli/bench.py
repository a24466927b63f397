"""Handlers of `alexnet bench`, `alexnet bench compare` and `alexnet versions`."""

import json
import math
from dataclasses import replace
from typing import Any

from rich import box
from rich.console import Console

from alexnet_impl.cli.flags import Bench, BenchCompare, TrainingOptions, Versions
from alexnet_impl.cli.output import keep_result
from alexnet_impl.cli.shared import (
    check_target,
    new_folder,
    parse_interpreters,
    run_config,
    settled,
)
from alexnet_impl.compare import check_frameworks, warn_on
from alexnet_impl.data.progress import Ticker, time_text
from alexnet_impl.errors import RunError
from alexnet_impl.machine.watch import MachineWatch
from alexnet_impl.measurement.case import Case, make_case
from alexnet_impl.measurement.case_worker import OutOfMemoryError
from alexnet_impl.measurement.forecast import forecast
from alexnet_impl.measurement.gate import check_comparable, pass_gate
from alexnet_impl.measurement.kept_rounds import (
    Compared,
    KeptRounds,
    Measured,
    entries_of,
)
from alexnet_impl.measurement.largest_batch import OutOfMemory, find_largest_batch
from alexnet_impl.measurement.measured_cases import Gate, MeasuredCase, RoundsPlan
from alexnet_impl.measurement.recording import (
    FILE_NAME,
    read_recording,
)
from alexnet_impl.measurement.regressions import RegressionOptions, find_regressions
from alexnet_impl.measurement.releases import read_environments
from alexnet_impl.measurement.rounds import (
    RoundPace,
    calibration_s,
    from_now,
    seconds_left,
)
from alexnet_impl.measurement.sides import parse_side
from alexnet_impl.measurement.workloads import get_workload
from alexnet_impl.processes.precision import ask_workers
from alexnet_impl.report.bench.page import write_bench_pictures
from alexnet_impl.report.bench.regressions import regression_lines, regressions_json
from alexnet_impl.report.bench.releases import (
    HEADER,
    conclusion,
    releases_json,
    version_rows,
    write_versions_page,
)
from alexnet_impl.report.bench.speeds import measured_lines, pair_lines, ratio_text
from alexnet_impl.report.fitted_table import FittedTable
from alexnet_impl.runs.folder import hold_new_folder

MOST_SIDES = 2


def bench_command(command: Bench, console: Console) -> int:
    """Time one side, or two in turns; the exit code is 1 if two sides have no ratio."""
    cases = [case_of(side, command) for side in command.sides]
    if not 1 <= len(cases) <= MOST_SIDES:
        raise RunError(f"bench: got {len(cases)} sides; give one or two.")
    if len(cases) == MOST_SIDES:
        check_comparable(*cases)
    plan = from_now(_plan(command))
    interpreters = parse_interpreters(command.interpreter)
    check_frameworks(interpreters, {case.config.framework for case in cases})
    folder = new_folder(command.options, "bench")
    with hold_new_folder(folder):
        configs = settled([case.config for case in cases], ask_workers(interpreters), console)
        cases = [replace(case, config=one) for case, one in zip(cases, configs, strict=True)]
        watch = MachineWatch(warn_on(console))
        kept = KeptRounds(cases, plan, interpreters, folder, watch)
        with kept.told_if_stopped():
            return Measurement(kept, command.sides, console).run()


class Measurement:
    """One call of `alexnet bench`: what it measures is printed, and written as it is measured."""

    def __init__(self, rounds: KeptRounds, asked: tuple[str, ...], console: Console) -> None:
        self.rounds, self.asked, self.console = rounds, asked, console
        self.cases, self.folder = rounds.cases, rounds.folder
        self.ticker = Ticker()
        self.pace = RoundPace()

    def run(self) -> int:
        """Measure, print and write the results; returns the exit code."""
        kept = self.rounds
        machine = kept.watch.before
        expected = forecast(self.cases, kept.plan, has_gate=kept.has_gate, machine=machine)
        with kept.watch:
            self.console.print(expected, soft_wrap=True)
            entries, pairs, code = self._measure()
            after = kept.watch.after()
        kept.write(entries, pairs, after)
        page = write_bench_pictures(self.folder, pairs)
        keep_result(self.console, lambda: json.loads((self.folder / FILE_NAME).read_text()))
        self.console.print(f"Benchmark folder: {self.folder}", soft_wrap=True)
        self.console.print(f"Page: {page}", soft_wrap=True)
        return code

    def log(self, text: str) -> None:
        """Say every 30 seconds how far the timing is, where no status line does."""
        if not self.console.is_terminal and self.ticker.is_due():
            self.console.print(text, soft_wrap=True)

    def _say_rounds(self, count: int, *sides: MeasuredCase) -> None:
        """Say after the second round how long the others take."""
        if (round_s := self.pace.round_s(count)) is None:
            return
        left_s = seconds_left(self.rounds.plan) - sum(calibration_s(side.case) for side in sides)
        more = int(min(self.rounds.plan.max_rounds - count, left_s / max(round_s, 1e-9)))
        if more > 0:
            left = f"at most {more} more, {time_text(more * round_s)}"
            self.console.print(f"A round takes {round_s:.1f} s: {left}.", soft_wrap=True)

    def _measure(self) -> tuple[list[dict[str, Any]], Compared, int]:
        """Entries and pairs of the benchmark file, and the exit code."""
        gate = self._gate() if self.rounds.has_gate else None
        sides = "one side" if len(self.cases) == 1 else "both sides"
        try:
            with self.console.status(f"starting {sides}") as status:

                def announce(done: Measured) -> None:
                    text = self._round_text(done, gate)
                    status.update(text)
                    self.log(text)

                done = self.rounds.measure(announce, gate)
        except OutOfMemoryError as error:
            beside = len(self.cases) == MOST_SIDES
            entry = self._no_memory(error, beside=beside)
            if beside:
                self._name_dropped(error.case)
            return [entry], [], int(beside)
        if isinstance(done, MeasuredCase):
            _show(done, self.console)
        else:
            for side in (done.first, done.second):
                _show(side, self.console)
            for line in pair_lines(done, gate):
                self.console.print(line, soft_wrap=True)
        return *entries_of(done, gate), 0 if gate is None or gate.holds else 1

    def _round_text(self, done: Measured, gate: Gate | None) -> str:
        """A line on the latest round; after the second, prints how long the others take."""
        if isinstance(done, MeasuredCase):
            count = len(done.times_s)
            self._say_rounds(count, done)
            return f"group {count} of at most {self.rounds.plan.max_rounds}"
        self._say_rounds(done.ratio.rounds, done.first, done.second)
        text = f"round {done.ratio.rounds}"
        return f"{text}: {ratio_text(done.ratio)}" if gate is None or gate.holds else text

    def _name_dropped(self, met: Case) -> None:
        """Name the side that was not measured since the other ran out of memory."""
        for number, case in enumerate(self.cases):
            if not _same(case, met):
                alone = f"`alexnet bench {self.asked[number]}` with the same flags does"
                told = f"{case.title}: not measured; {alone}."
                self.console.print(told, style="yellow", soft_wrap=True)

    def _gate(self) -> Gate:
        with self.console.status("comparing both models in this precision"):
            gate = pass_gate(self.cases[0], self.rounds.interpreters)
        if not gate.holds:
            told = f"gate: {gate.outcome}. The models differ: times are shown, and no speed ratio."
            self.console.print(told, style="yellow", soft_wrap=True)
        return gate

    def _no_memory(self, error: OutOfMemoryError, *, beside: bool = False) -> dict[str, Any]:
        """The entry of a case that ran out of memory."""
        case = error.case
        with self.console.status("searching the largest batch that fits"):
            found: OutOfMemory = find_largest_batch(
                case, str(error), self.rounds.interpreters, beside=beside
            )
        self.console.print(f"{case.title}: {found}", soft_wrap=True)
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


def case_of(text: str, command: Bench) -> Case:
    """The case of one side; see parse_side()."""
    side = parse_side(text)
    get_workload(command.workload)
    options = TrainingOptions(**vars(command.options))
    if options.dataset is None and options.data_dir is None:
        options = replace(options, dataset="synthetic")
    recipe = options.recipe
    if command.batch_size is not None:
        recipe = replace(recipe, global_batch_size=command.batch_size)
    config = run_config(replace(options, recipe=side.recipe(recipe)), side.framework)
    return make_case(side.workload or command.workload, config)


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


def _same(asked: Case, met: Case) -> bool:
    """Whether a case is the one asked for, whose device the framework has found by now."""
    return asked.on(met.config.device) == met


def _show(measured: MeasuredCase, console: Console) -> None:
    for line in measured_lines(measured):
        console.print(line, soft_wrap=True)


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
    keep_result(console, lambda: regressions_json(done))
    *lines, last = regression_lines(done)
    for line in lines:
        console.print(line, soft_wrap=isinstance(line, str))
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
    keep_result(console, lambda: releases_json(environments, problems))
    # Releases side by side: a row for each would be wider than a terminal.
    table = FittedTable(box=box.SIMPLE, show_header=False)
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
