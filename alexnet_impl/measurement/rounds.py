"""Timing of one side, or of two sides in turns until their ratio is known well enough."""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Protocol

from alexnet_impl.measurement.case import Case, Interpreters
from alexnet_impl.measurement.case_worker import CaseWorker, case_worker
from alexnet_impl.measurement.measured_cases import MeasuredCase, MeasuredPair, RoundsPlan
from alexnet_impl.stats.speed_ratios import Ratio, instability, is_narrow, paired_ratio, verdict

Peaks = dict[tuple[str, str, str], dict[str, float]]
"""(framework, device, precision) to what the calibration kernels reached, in FLOP/s and B/s."""


class Timed(Protocol):
    """One of two sides."""

    def time_group(self) -> float:
        """Seconds per image (or model) of one more group of calls."""


class TimedSide:
    """A case that is ready in its worker process, with the times measured so far."""

    def __init__(self, worker: CaseWorker, plan: RoundsPlan) -> None:
        self.case, self.worker = worker.case, worker
        self.prepared = worker.prepare()
        self.ready = worker.warm_up(plan.warm_up_s, plan.group_s)
        self.times_s: list[float] = []

    def time_group(self) -> float:
        """Seconds per image (or model) of one more group: calls of two sides may differ in size."""
        self.times_s.append(self.worker.time_group())
        return self.times_s[-1] / self.prepared.amount

    def time_call(self) -> float:
        """Seconds per call of one more group."""
        self.time_group()
        return self.times_s[-1]

    def measured(self, peaks: Peaks | None = None) -> MeasuredCase:
        """The record of this side.

        Args:
            peaks: Peaks that were measured before, which this call adds to; by default they are
                measured in this side's own process.
        """
        memory = self.worker.memory()  # a calibration adds its own, and gives the model's back
        config = self.case.config
        kind = (config.framework, config.device, config.recipe.precision)
        known = {} if peaks is None else peaks
        if kind not in known:
            known[kind] = self.worker.peaks()
        warnings = list(instability([t * self.worker.group for t in self.times_s]))
        if not self.ready.steady:
            warnings.append(
                f"the times still fell after {len(self.ready.times_s)} calls of warm-up; give "
                "--warm-up more seconds."
            )
        return MeasuredCase(
            case=self.case,
            times_s=tuple(self.times_s),
            calls_per_group=self.worker.group,
            amount=self.prepared.amount,
            unit=self.prepared.unit,
            preparation_s=self.prepared.preparation_s,
            first_call_s=self.ready.first_call_s,
            warm_up_calls=1 + len(self.ready.times_s),
            steady=self.ready.steady,
            memory=memory,
            peaks=dict(known[kind]),
            round_trip_s=self.worker.round_trip_s(),
            framework=self.worker.fingerprint(),
            warnings=tuple(warnings),
        )


def measure(case: Case, plan: RoundsPlan, interpreters: Interpreters) -> MeasuredCase:
    """Time one side by itself, for the plan's number of groups or until its time limit.

    Raises:
        OutOfMemoryError: If it does not fit.
        RunError: If its process fails.
    """
    interpreter = interpreters.get(case.config.framework, sys.executable)
    with case_worker(case, interpreter=interpreter) as worker:
        side = TimedSide(worker, plan)
        take_groups(side, plan)
        return side.measured()


def take_groups(side: Timed, plan: RoundsPlan) -> None:
    """Time groups of one side until there are enough of them or the time limit is reached."""
    started = time.monotonic()
    for _ in range(plan.max_rounds):
        side.time_group()
        if time.monotonic() - started > plan.budget_s:
            return


def compare(
    first: Case,
    second: Case,
    plan: RoundsPlan,
    interpreters: Interpreters,
    announce: Callable[[int, Ratio], None],
    peaks: Peaks | None = None,
) -> MeasuredPair:
    """Time two sides in rounds A B B A, B A A B, ..., until their ratio is known well enough.

    Args:
        first: The first side.
        second: The second side; the same case twice measures the harness itself.
        plan: How long to measure.
        interpreters: Framework to the Python that runs it; by default this one.
        announce: Called with the number of rounds and the ratio after each round.
        peaks: Peaks that were measured before with the same threads and interpreters; by default
            each side measures its own.

    Raises:
        OutOfMemoryError: If a side does not fit.
        RunError: If a process fails.
    """
    with ExitStack() as stack:
        sides = []
        for case in (first, second):
            interpreter = interpreters.get(case.config.framework, sys.executable)
            worker = stack.enter_context(case_worker(case, interpreter=interpreter))
            sides.append(TimedSide(worker, plan))
        ratio = take_rounds(sides, plan, announce)
        done = [side.measured(peaks) for side in sides]
    judged = verdict(ratio, plan.margin)
    return MeasuredPair(first=done[0], second=done[1], ratio=ratio, verdict=judged, plan=plan)


def take_rounds(
    sides: Sequence[Timed], plan: RoundsPlan, announce: Callable[[int, Ratio], None]
) -> Ratio:
    """Time two sides in turns until their ratio is known well enough or the time limit is reached.

    `announce` is called with the number of rounds and the ratio after each round.
    """
    rounds: list[tuple[float, float]] = []
    started = time.monotonic()
    while True:
        spent = [0.0, 0.0]
        # The side at both ends changes each round, so that neither profits from a warm machine.
        for number in (0, 1, 1, 0) if len(rounds) % 2 == 0 else (1, 0, 0, 1):
            spent[number] += sides[number].time_group()
        rounds.append((spent[0], spent[1]))
        first, second = zip(*rounds, strict=True)
        ratio = paired_ratio(first, second, confidence=plan.confidence)
        announce(len(rounds), ratio)
        known = len(rounds) >= plan.min_rounds and is_narrow(ratio, plan.width)
        late = time.monotonic() - started > plan.budget_s
        if known or late or len(rounds) >= plan.max_rounds:
            return ratio
