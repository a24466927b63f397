"""Records of a benchmark: the measurements of one side, the ratio of two sides, the gate."""

from dataclasses import dataclass
from statistics import median
from typing import Any

from alexnet_impl.measurement.case import Case
from alexnet_impl.measurement.timing import GROUP_S, WARM_UP_S
from alexnet_impl.measurement.workloads import get_workload
from alexnet_impl.network.spec import backbone_of, trace
from alexnet_impl.parity.record import CheckResult
from alexnet_impl.recipe.trainable import learns_everything
from alexnet_impl.stats.speed_ratios import (
    FEWEST_FOR_INTERVAL,
    Ratio,
    Verdict,
    paired_ratio,
)

GROUPS_PER_PEAK = 2
"""Groups of a side in a round; the peak is measured after them."""
NUM_CLASSES = 10
"""Number of classes of the images that benchmarks use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundsPlan:
    """How long to measure.

    Attributes:
        min_rounds: Rounds before the interval of the ratio can end the measurement.
        max_rounds: Maximum number of rounds, or of groups of a single side.
        budget_s: Time limit in seconds: of the rounds, or of everything with `ends_at`.
        fewest_rounds: Rounds of two sides that are taken even beyond the time limit.
        ends_at: When everything should have ended, on the clock of from_now(); None for no limit.
        width: Stop when the interval's half-width is below this fraction of the ratio.
        margin: Smallest relative difference of speed that counts as faster or slower.
        confidence: Confidence level of the interval.
        group_s: Shortest group of calls, in seconds.
        warm_up_s: Time limit of the warm-up, in seconds.
    """

    min_rounds: int = 6
    max_rounds: int = 40
    budget_s: float = 120.0
    fewest_rounds: int = 1
    width: float = 0.01
    margin: float = 0.02
    confidence: float = 0.95
    group_s: float = GROUP_S
    warm_up_s: float = WARM_UP_S
    ends_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCase:
    """The measurements of one case.

    Attributes:
        case: The workload and its config.
        times_s: Seconds per call of each group of calls, in the order measured.
        calls_per_group: Number of calls in a group.
        amount: Size of the work of one call, in `unit`.
        unit: 'images' or 'models'.
        preparation_s: Seconds to build model, weights and data.
        first_call_s: Seconds of the first call, with tracing, compilation and allocation.
        warm_up_calls: Number of calls before the first group.
        steady: Whether the times had stopped falling by then.
        memory: Peak memory of the process and of its accelerator, in bytes.
        peaks: What the calibration kernels reached, in FLOP/s and B/s; in the same process, unless
            the figures of another process were given.
        peak_rounds: FLOP/s of the matrix product in the case's precision, measured between the
            groups; empty where that was not done.
        round_trip_s: Seconds of a request to the worker process in which nothing is timed.
        framework: Versions, device, threads and flags.
        warnings: Reasons to doubt the times, one sentence each.
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
    peak_rounds: tuple[float, ...] = ()

    @property
    def call_s(self) -> float:
        """Median of the times, in seconds per call."""
        return median(self.times_s)

    @property
    def per_second(self) -> float:
        """Images (or models) per second."""
        return self.amount / self.call_s

    @property
    def fraction_of_peak(self) -> float | None:
        """Fraction of the peak FLOP/s of the matrix product in the case's precision.

        None where the FLOP are unknown, or no peak was measured.
        """
        flop = unit_flop(self.case)
        if flop is None:
            return None
        if (share := self._share_in_rounds(flop)) is not None:
            return share.ratio
        peak = self.peaks.get(f"matmul {self.case.config.recipe.precision}")
        return self.per_second * flop / peak if peak else None

    @property
    def fraction_of_peak_interval(self) -> tuple[float, float] | None:
        """Its 95 % interval, from the peaks measured between the groups; None without three."""
        flop = unit_flop(self.case)
        share = None if flop is None else self._share_in_rounds(flop)
        return (share.low, share.high) if share and share.rounds >= FEWEST_FOR_INTERVAL else None

    def _share_in_rounds(self, flop: float) -> Ratio | None:
        """Speed over peak, each peak with the groups just before it."""
        if not self.peak_rounds:
            return None
        size = GROUPS_PER_PEAK
        groups = [self.times_s[place : place + size] for place in range(0, len(self.times_s), size)]
        pairs = list(zip(groups, self.peak_rounds, strict=False))  # a last group may have no peak
        calls_s = [sum(group) / len(group) / (self.amount * flop) for group, _ in pairs]
        return paired_ratio(calls_s, [1 / peak for _, peak in pairs])


def unit_flop(case: Case) -> float | None:
    """FLOP of an image in a case, or None where they are unknown.

    A training step counts three times the forward pass's multiply-accumulates, two FLOP each. They
    are unknown for a backbone, and for a step in which some layers do not learn.
    """
    workload, recipe = get_workload(case.workload), case.config.recipe
    spec = case.config.spec(NUM_CLASSES)
    whole = workload.passes == 1 or workload.is_tutorial or learns_everything(spec, recipe)
    if not workload.passes or not whole or backbone_of(spec) is not None:
        return None
    return 2.0 * workload.passes * trace(spec).num_macs


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredPair:
    """Two cases that were timed in turns, and the ratio of their speeds.

    Attributes:
        first: The first side.
        second: The second side.
        ratio: Speed of the first over the second.
        verdict: 'faster', 'slower' or 'undecided': the first side, at the plan's margin.
        plan: How long they were to be measured.
    """

    first: MeasuredCase
    second: MeasuredCase
    ratio: Ratio
    verdict: Verdict
    plan: RoundsPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Whether two frameworks were shown equal before they were timed.

    Attributes:
        checks: Weights, preprocessing, layers, logits, loss, gradients and three updates. In half
            precision gradients and updates count by their median over weights, since a single
            weight may be all noise.
    """

    checks: tuple[CheckResult, ...]

    @property
    def holds(self) -> bool:
        """Whether there are checks and all of them hold."""
        return bool(self.checks) and all(check.holds for check in self.checks)

    @property
    def outcome(self) -> str:
        """'equal', or the first mismatch."""
        failed = [check for check in self.checks if not check.holds]
        if not failed:
            return "equal" if self.checks else "not compared"
        check = failed[0]
        where = f" at {check.where}" if check.where else ""
        return f"differs: {check.name} {check.measured:.1e} > {check.tolerance:.1e}{where}"

    def to_dict(self) -> dict[str, Any]:
        """Outcome and each check's measured difference and tolerance, ready for JSON."""
        checks = [[check.name, check.measured, check.tolerance] for check in self.checks]
        return {"outcome": self.outcome, "holds": self.holds, "checks": checks}
