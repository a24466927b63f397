"""The clock of every benchmark: it times groups of calls between two waits for the device.

Frameworks return before an accelerator has finished, so a time that is not taken between two waits
is only the time of submitting the work. Nothing else in this package reads a clock for a benchmark.
"""

import math
import time
from dataclasses import dataclass

from alexnet_impl.frameworks.timed_call import TimedCall
from alexnet_impl.stats.speed_ratios import is_steady

GROUP_S = 0.25
"""Shortest group of calls, in seconds: reading the clock and waiting cost nothing beside it."""
WARM_UP_S = 20.0
"""Time limit of the warm-up, in seconds."""
COST_SHARE = 0.05
"""Largest cost of a call relative to its work."""
LEAST_WARM_UP = 10
"""Calls before the warm-up can end as steady; slow calls may reach the time limit earlier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUp:
    """Times of the calls before the first timed group.

    Attributes:
        first_call_s: Seconds of the first call, with tracing, compilation and allocation.
        times_s: Seconds of each call after it.
        steady: Whether the last times did not fall any more; False if the time limit ended it.
    """

    first_call_s: float
    times_s: tuple[float, ...]
    steady: bool

    @property
    def call_s(self) -> float:
        """Median seconds of the last five calls."""
        last = sorted(self.times_s[-5:]) or [self.first_call_s]
        return last[len(last) // 2]


def time_calls(timed_call: TimedCall, count: int) -> float:
    """Seconds that `count` calls take until the device has finished them all."""
    call, synchronize = timed_call.call, timed_call.synchronize
    synchronize()
    started = time.perf_counter()
    for _ in range(count):
        call()
    synchronize()
    return time.perf_counter() - started


def warm_up(timed_call: TimedCall, *, limit_s: float = WARM_UP_S) -> WarmUp:
    """Call at least twice, until the times are steady or the time limit in seconds is reached."""
    first = time_calls(timed_call, 1)
    times: list[float] = []
    spent = 0.0
    while True:
        times.append(time_calls(timed_call, 1))
        spent += times[-1]
        steady = len(times) >= LEAST_WARM_UP and is_steady(times)
        if steady or spent >= limit_s:
            return WarmUp(first_call_s=first, times_s=tuple(times), steady=steady)


def amortise_call_cost(timed_call: TimedCall, most: int) -> TimedCall:
    """Return a workload with enough batches a call, up to `most`, for a call's cost to be small."""
    if timed_call.with_batches is None:
        return timed_call
    needed_s = timed_call.cost_s * (1 + 1 / COST_SHARE)
    found, batches = timed_call, 1
    while True:
        time_calls(found, 1)
        call_s = time_calls(found, 1)
        if call_s >= needed_s or batches >= most:
            return timed_call.with_batches(batches)  # whose first call is a first call again
        batches = min(most, math.ceil(1.2 * batches * needed_s / call_s))
        found = timed_call.with_batches(batches)


def group_size(call_s: float, group_s: float = GROUP_S) -> int:
    """Number of calls in a group that lasts `group_s` seconds or more."""
    return max(1, -int(-group_s // max(call_s, 1e-9)))
