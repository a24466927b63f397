"""Two sides in interleaved rounds, until their ratio is known well enough."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

from alexnet_impl.measurement.case import Case
from alexnet_impl.measurement.case_worker import CaseWorker, case_worker
from alexnet_impl.measurement.timing import GROUP_S, WARM_UP_S
from alexnet_impl.measurement.workloads import get_work
from alexnet_impl.network.spec import backbone_of, trace
from alexnet_impl.recipe.trainable import learns_everything
from alexnet_impl.stats.speed_ratios import (
    Ratio,
    Verdict,
    instability,
    is_narrow,
    paired_ratio,
    verdict,
)

NUM_CLASSES = 10
"""Of the images that benchmarks use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long to measure.

    Attributes:
        min_rounds: Before the ratio's interval is looked at.
        max_rounds: At most so many.
        budget_s: No round, or group of a single side, begins later, counted from the end of the
            warm-up.
        width: Enough is known when the interval reaches this share to either side of the ratio.
        margin: A side is called faster or slower only if it is by more than this share.
        confidence: Of the interval.
        group_s: Seconds that a group of calls lasts at least.
        warm_up_s: Warm-up ends after so long even if the times still fall.
    """

    min_rounds: int = 6
    max_rounds: int = 40
    budget_s: float = 120.0
    width: float = 0.01
    margin: float = 0.02
    confidence: float = 0.95
    group_s: float = GROUP_S
    warm_up_s: float = WARM_UP_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one side did.

    Attributes:
        case: What was timed.
        times_s: Seconds per call, one for each group of calls, in their order.
        calls_per_group: How many calls a group has.
        amount: How much a call does, in `unit`.
        unit: 'images' or 'models'.
        preparation_s: Seconds to build model, weights and data.
        first_call_s: Seconds of the first call: tracing, compilation and allocation are in it.
        warm_up_calls: Calls before the first group.
        steady: Whether the times had stopped falling by then.
        memory: Peak memory of the process and of its accelerator, bytes.
        peaks: What the calibration kernels reached, FLOP/s and B/s; in the same process, unless
            they were remembered from another.
        round_trip_s: Seconds of the worker's channel for a request in which nothing is timed.
        framework: Versions, device, threads and flags.
        warnings: What makes the times doubtful.
    """

    case: Case
    times_s: tuple[float, ...]
    calls_per_group: int
    amount: float
    unit: str
    preparation_s: float
    first_call_s: float
    warm_up_calls: int
    steady: bool
    memory: dict[str, int | None]
    peaks: dict[str, float]
    round_trip_s: float
    framework: dict[str, Any]
    warnings: tuple[str, ...]

    @property
    def call_s(self) -> float:
        """Median of the times, seconds per call."""
        ordered = sorted(self.times_s)
        middle = len(ordered) // 2
        return (ordered[middle] + ordered[~middle]) / 2

    @property
    def per_second(self) -> float:
        """Images (or models) per second."""
        return self.amount / self.call_s

    @property
    def fraction_of_peak(self) -> float | None:
        """Share of the matrix product's peak in the case's precision; None where it means nothing.

        A training step counts three times the forward pass's multiply-accumulates, two FLOP each;
        what a backbone computes, and what a step leaves out for layers that do not learn, is not
        known.
        """
        work, recipe = get_work(self.case.work), self.case.config.recipe
        peak = self.peaks.get(f"matmul {recipe.precision}")
        spec = self.case.config.spec(NUM_CLASSES)
        frozen = work.passes > 1 and not work.plain and not learns_everything(spec, recipe)
        if not work.passes or not peak or frozen or backbone_of(spec) is not None:
            return None
        return self.per_second * 2 * work.passes * trace(spec).num_macs / peak


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two sides and what may be said of them.

    Attributes:
        first: One side.
        second: The other.
        ratio: How many times as fast the first is as the second.
        verdict: Of the first: 'faster', 'slower' or 'undecided' at the plan's margin.
        plan: How long was measured.
    """

    first: Measured
    second: Measured
    ratio: Ratio
    verdict: Verdict
    plan: Plan


class Timed(Protocol):
    """One of two sides."""

    def time_group(self) -> float:
        """Seconds per image (or model) of one more group."""


Peaks = dict[tuple[str, str, str], dict[str, float]]
"""Framework, device and precision to what the calibration kernels reached, FLOP/s and B/s."""


class Side:
    """A case on its way: its worker, and the times so far."""

    def __init__(self, worker: CaseWorker, plan: Plan) -> None:
        self.case, self.worker = worker.case, worker
        self.prepared = worker.prepare()
        self.ready = worker.warm_up(plan.warm_up_s, plan.group_s)
        self.times_s: list[float] = []

    def time_group(self) -> float:
        """Seconds per image (or model) of one more group: calls may differ in what they do."""
        self.times_s.append(self.worker.time_group())
        return self.times_s[-1] / self.prepared.amount

    def time_call(self) -> float:
        """Seconds per call of one more group."""
        self.time_group()
        return self.times_s[-1]

    def measured(self, peaks: Peaks | None = None) -> Measured:
        """What this side did.

        Args:
            peaks: Where those of its framework, device and precision are remembered; by default
                they are measured in the side's own process.
        """
        memory = self.worker.memory()  # a calibration adds its own, and gives the model's back
        config = self.case.config
        kind = (config.framework, config.device, config.recipe.precision)
        remembered = {} if peaks is None else peaks
        if kind not in remembered:
            remembered[kind] = self.worker.peaks()
        warnings = list(instability([t * self.worker.group for t in self.times_s]))
        if not self.ready.steady:
            warnings.append(
                f"the times still fell after {len(self.ready.times_s)} calls of warm-up; give "
                "--warm-up more seconds."
            )
        return Measured(
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
            peaks=dict(remembered[kind]),
            round_trip_s=self.worker.round_trip_s(),
            framework=self.worker.fingerprint(),
            warnings=tuple(warnings),
        )


Interpreters = Mapping[str, str]


def measure(case: Case, plan: Plan, interpreters: Interpreters) -> Measured:
    """One side by itself, for as many groups of calls as the plan has rounds, or until time is up.

    Raises:
        OutOfMemoryError: If it does not fit.
        RunError: If its process fails.
    """
    interpreter = interpreters.get(case.config.framework, sys.executable)
    with case_worker(case, interpreter=interpreter) as worker:
        side = Side(worker, plan)
        take_groups(side, plan)
        return side.measured()


def take_groups(side: Timed, plan: Plan) -> None:
    """Time groups of one side until there are enough of them, or time is up."""
    started = time.monotonic()
    for _ in range(plan.max_rounds):
        side.time_group()
        if time.monotonic() - started > plan.budget_s:
            return


def compare(
    first: Case,
    second: Case,
    plan: Plan,
    interpreters: Interpreters,
    announce: Callable[[int, Ratio], None],
    peaks: Peaks | None = None,
) -> Compared:
    """Both sides in rounds A B B A, B A A B, ..., until the ratio is known well enough.

    Args:
        first: One side.
        second: The other; the same case twice measures the harness itself.
        plan: How long.
        interpreters: Framework to the Python that runs it; this one by default.
        announce: Is told of the number of rounds and of the ratio after each.
        peaks: Where calibrations are remembered, all of the same threads and interpreters; by
            default each side makes its own.

    Raises:
        OutOfMemoryError: If a side does not fit.
        RunError: If a process fails.
    """
    with ExitStack() as stack:
        sides = []
        for case in (first, second):
            interpreter = interpreters.get(case.config.framework, sys.executable)
            worker = stack.enter_context(case_worker(case, interpreter=interpreter))
            sides.append(Side(worker, plan))
        ratio = take_rounds(sides, plan, announce)
        done = [side.measured(peaks) for side in sides]
    return Compared(
        first=done[0],
        second=done[1],
        ratio=ratio,
        verdict=verdict(ratio, plan.margin),
        plan=plan,
    )


def take_rounds(
    sides: Sequence[Timed], plan: Plan, announce: Callable[[int, Ratio], None]
) -> Ratio:
    """Let two sides take turns until their ratio is known well enough, or time is up.

    Args:
        sides: Two.
        plan: When to end.
        announce: Is told of the number of rounds and of the ratio after each.
    """
    rounds: list[tuple[float, float]] = []
    started = time.monotonic()
    while True:
        spent = [0.0, 0.0]
        # Whoever stands at the ends takes turns, so that neither profits from the other's warmth.
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
