"""The one clock of every benchmark: groups of calls between two waits for the device.

Frameworks return before an accelerator has finished; a time that is not taken between two waits is
the time of asking. Nothing else in this package reads a clock for a benchmark.
"""

import math
import time
from dataclasses import dataclass

from alexnet_impl.frameworks.timed_call import TimedCall
from alexnet_impl.stats.speed_ratios import is_steady

GROUP_S = 0.25
"""A group of calls lasts at least so long: its clock and its waits are nothing beside it."""
WARM_UP_S = 20.0
"""Warm-up ends after so long even if the times still fall."""
COST_SHARE = 0.05
"""Of what a call does: it may cost so much by itself."""
LEAST_WARM_UP = 10
"""Calls before steadiness is judged; fewer where they are slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUp:
    """How a case became ready.

    Attributes:
        first_call_s: Seconds of the first call: tracing, compilation and allocation are in it.
        times_s: Seconds of each call after it.
        steady: Whether the last of them did not fall any more; if not, time ran out.
    """

    first_call_s: float
    times_s: tuple[float, ...]
    steady: bool

    @property
    def call_s(self) -> float:
        """Seconds of a call at the end of the warm-up."""
        last = sorted(self.times_s[-5:]) or [self.first_call_s]
        return last[len(last) // 2]


def time_calls(work: TimedCall, count: int) -> float:
    """Seconds that `count` calls take until the device has finished them all."""
    call, synchronize = work.call, work.synchronize
    synchronize()
    started = time.perf_counter()
    for _ in range(count):
        call()
    synchronize()
    return time.perf_counter() - started


def warm_up(work: TimedCall, *, limit_s: float = WARM_UP_S) -> WarmUp:
    """Call until the times are steady, or for so many seconds.

    Args:
        work: What to call.
        limit_s: Seconds; at least two calls are made.
    """
    first = time_calls(work, 1)
    times: list[float] = []
    spent = 0.0
    while True:
        times.append(time_calls(work, 1))
        spent += times[-1]
        steady = len(times) >= LEAST_WARM_UP and is_steady(times)
        if steady or spent >= limit_s:
            return WarmUp(first_call_s=first, times_s=tuple(times), steady=steady)


def lengthen(work: TimedCall, most: int) -> TimedCall:
    """The same in calls beside whose batches what a call costs by itself is small.

    Args:
        work: In calls of one batch.
        most: Batches in a call.
    """
    if work.of_batches is None:
        return work
    needed_s = work.cost_s * (1 + 1 / COST_SHARE)
    found, batches = work, 1
    while True:
        time_calls(found, 1)
        call_s = time_calls(found, 1)
        if call_s >= needed_s or batches >= most:
            return work.of_batches(batches)  # whose first call is one again
        batches = min(most, math.ceil(1.2 * batches * needed_s / call_s))
        found = work.of_batches(batches)


def group_size(call_s: float, group_s: float = GROUP_S) -> int:
    """Calls in a group that lasts `group_s` seconds or more."""
    return max(1, -int(-group_s // max(call_s, 1e-9)))
