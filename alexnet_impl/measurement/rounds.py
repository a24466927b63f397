"""Timing of one side, or of two sides in turns until their ratio is known well enough."""

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from statistics import median
from typing import Any, Protocol

from alexnet_impl.measurement.case import Case, Interpreters
from alexnet_impl.measurement.case_worker import CaseWorker, case_worker
from alexnet_impl.measurement.measured_cases import (
    GROUPS_PER_PEAK,
    MeasuredCase,
    MeasuredPair,
    RoundsPlan,
    unit_flop,
)
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
        self.peak_rounds: list[float] = []
        self.has_peak = has_peak_in_rounds(self.case)

    def time_group(self) -> float:
        """Seconds per image (or model) of one more group: calls of two sides may differ in size.

        Before every second group, which begins the side's part of a round, the peak is measured:
        nothing comes between a measured ratio and its being written.
        """
        if self.has_peak and len(self.times_s) % GROUPS_PER_PEAK == 0:
            self.peak_rounds.append(self.worker.peak())
        self.times_s.append(self.worker.time_group())
        return self.times_s[-1] / self.prepared.amount

    def time_call(self) -> float:
        """Seconds per call of one more group."""
        self.time_group()
        return self.times_s[-1]

    def measured(self, peaks: Peaks | None = None) -> MeasuredCase:
        """The record of this side, with the peaks of the kernels that the rounds do not measure.

        Measuring them ends the timing.

        Args:
            peaks: Peaks that were measured before, which this call adds to; by default they are
                measured in this side's own process.
        """
        found = self.so_far()  # a calibration adds its own memory, and gives the model's back
        config = self.case.config
        kind = (config.framework, config.device, config.recipe.precision)
        shared = {} if peaks is None else peaks
        known = shared.get(kind, {})
        shared[kind] = known | self.worker.peaks({*known, *found.peaks})
        return replace(found, peaks=shared[kind] | found.peaks)

    def so_far(self) -> MeasuredCase:
        """The record of the groups timed so far, without the peaks of other kernels."""
        warnings = list(instability([t * self.worker.group for t in self.times_s]))
        if not self.ready.steady:
            warnings.append(
                f"the times still fell after {len(self.ready.times_s)} calls of warm-up; give "
                "--warm-up more seconds."
            )
        product = f"matmul {self.case.config.recipe.precision}"
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
            memory=self.worker.memory(),
            peaks={product: median(self.peak_rounds)} if self.peak_rounds else {},
            peak_rounds=tuple(self.peak_rounds),
            round_trip_s=self._round_trip_s,
            framework=self._fingerprint,
            warnings=tuple(warnings),
        )

    @cached_property
    def _round_trip_s(self) -> float:
        return self.worker.round_trip_s()

    @cached_property
    def _fingerprint(self) -> dict[str, Any]:
        return self.worker.fingerprint()


def measure(
    case: Case,
    plan: RoundsPlan,
    interpreters: Interpreters,
    announce: Callable[[MeasuredCase], None],
) -> MeasuredCase:
    """Time one side by itself, for the plan's number of groups or until its time limit.

    Args:
        case: What to time.
        plan: How long to measure.
        interpreters: Framework to the Python that runs it; by default this one.
        announce: Called with what was measured so far after each group.

    Raises:
        OutOfMemoryError: If it does not fit.
        RunError: If its process fails.
    """
    interpreter = interpreters.get(case.config.framework, sys.executable)
    with case_worker(case, interpreter=interpreter) as worker:
        side = TimedSide(worker, _warm_up_plan(plan))
        take_groups(side, _rounds_plan(plan, side), lambda: announce(side.so_far()))
        return side.measured()


WARM_UP_SHARE = 0.25
"""Largest share of the time left that a side's warm-up takes."""
CALIBRATION_S, PRODUCT_S = 3.5, 1.1
"""Seconds that the peaks of a side take, and of them those of the product in its precision."""


def has_peak_in_rounds(case: Case) -> bool:
    """Whether the product in the case's precision is measured between the groups.

    A GPU keeps its clock between kernels, and has no memory to spare beside a model.
    """
    return case.config.device == "cpu" and unit_flop(case) is not None


def calibration_s(case: Case) -> float:
    """Seconds of the peaks that a case has measured after its groups."""
    return CALIBRATION_S - (PRODUCT_S if has_peak_in_rounds(case) else 0.0)


def from_now(plan: RoundsPlan) -> RoundsPlan:
    """The plan with its time limit counted from now, whatever comes before the rounds."""
    return replace(plan, ends_at=time.monotonic() + plan.budget_s)


def seconds_left(plan: RoundsPlan) -> float:
    """Seconds until everything should have ended."""
    return plan.budget_s if plan.ends_at is None else plan.ends_at - time.monotonic()


class RoundPace:
    """How long a round takes: the second one, since the first has what is made once."""

    def __init__(self) -> None:
        self.first_ended_at = 0.0

    def round_s(self, count: int) -> float | None:
        """Seconds of the second round, asked just after it and after the first; otherwise None."""
        now = time.monotonic()
        if count == 1:
            self.first_ended_at = now
        return now - self.first_ended_at if count == 2 else None


def _warm_up_plan(plan: RoundsPlan) -> RoundsPlan:
    """The plan with a warm-up that leaves time for the rounds."""
    if plan.ends_at is None:
        return plan
    left_s = max(0.0, seconds_left(plan))
    return replace(plan, warm_up_s=min(plan.warm_up_s, WARM_UP_SHARE * left_s))


def _rounds_plan(plan: RoundsPlan, *sides: TimedSide) -> RoundsPlan:
    """The plan with rounds that leave time for the peaks."""
    if plan.ends_at is None:
        return plan
    left_s = seconds_left(plan) - sum(calibration_s(side.case) for side in sides)
    return replace(plan, budget_s=min(plan.budget_s, left_s))


def take_groups(side: Timed, plan: RoundsPlan, announce: Callable[[], None]) -> None:
    """Time groups of one side until there are enough, or the next would end after the time limit.

    `announce` is called after each group.
    """
    started = time.monotonic()
    for count in range(1, plan.max_rounds + 1):
        side.time_group()
        announce()
        if _is_late(started, count, plan):
            return


def _is_late(started: float, count: int, plan: RoundsPlan) -> bool:
    """Whether one more round, as long as the mean of the first `count`, is beyond the limit."""
    elapsed_s = time.monotonic() - started
    return elapsed_s + elapsed_s / count > plan.budget_s


def compare(
    first: Case,
    second: Case,
    plan: RoundsPlan,
    interpreters: Interpreters,
    announce: Callable[[MeasuredPair], None],
    peaks: Peaks | None = None,
) -> MeasuredPair:
    """Time two sides in rounds A B B A, B A A B, ..., until their ratio is known well enough.

    Args:
        first: The first side.
        second: The second side; the same case twice measures the harness itself.
        plan: How long to measure.
        interpreters: Framework to the Python that runs it; by default this one.
        announce: Called with what was measured so far after each round.
        peaks: Peaks that were measured before with the same threads and interpreters; by default
            each side measures its own.

    Raises:
        OutOfMemoryError: If a side does not fit.
        RunError: If a process fails.
    """
    sides: list[TimedSide] = []

    def pair(ratio: Ratio, done: list[MeasuredCase]) -> MeasuredPair:
        judged = verdict(ratio, plan.margin)
        return MeasuredPair(first=done[0], second=done[1], ratio=ratio, verdict=judged, plan=plan)

    def tell(_: int, ratio: Ratio) -> None:
        announce(pair(ratio, [side.so_far() for side in sides]))

    def start(case: Case) -> CaseWorker:
        interpreter = interpreters.get(case.config.framework, sys.executable)
        return stack.enter_context(case_worker(case, interpreter=interpreter))

    with ExitStack() as stack:
        with ThreadPoolExecutor() as pool:  # both import their frameworks, and time nothing yet
            workers = list(pool.map(start, (first, second)))
        sides += [TimedSide(worker, _warm_up_plan(plan)) for worker in workers]
        ratio = take_rounds(sides, _rounds_plan(plan, *sides), tell)
        return pair(ratio, [side.measured(peaks) for side in sides])


def take_rounds(
    sides: Sequence[Timed], plan: RoundsPlan, announce: Callable[[int, Ratio], None]
) -> Ratio:
    """Time two sides in turns until their ratio is known well enough or the time is over.

    No round is begun that would end after the plan's time limit, but the fewest it asks for.

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
        late = len(rounds) >= plan.fewest_rounds and _is_late(started, len(rounds), plan)
        if known or late or len(rounds) >= plan.max_rounds:
            return ratio
