"""Interference: what else used the machine, or slowed it, while something was measured."""

import time
from collections.abc import Iterable, Iterator
from typing import Any

import psutil

from alexnet_impl.errors import RunError
from alexnet_impl.machine.fact import Facts
from alexnet_impl.machine.gpu import HARMLESS_REASONS

MAX_LOAD_PER_CPU = 0.5
MAX_INTERFERENCE = 0.1
"""Share of the processor's, or of a GPU's, time beyond which a warning is given."""

LOOK_S = 0.5
"""Seconds for which a command looks at the machine before its workers add their load."""


def measure_interference(interval_s: float) -> float:
    """Measure the share of all cores' time that other processes use, 0 to 1.

    In a container the cores and the processes are mostly the host's.

    Args:
        interval_s: Seconds to measure; the calling thread sleeps. What other threads of this
            process use is not counted.

    Raises:
        RunError: If interval_s is not above 0.
    """
    if not interval_s > 0:
        raise RunError(f"interval_s={interval_s:g}: must be above 0; use 0.5.")
    start_s, own_start_s = time.perf_counter(), time.process_time()
    share = psutil.cpu_percent(interval=interval_s) / 100
    own_s, elapsed_s = time.process_time() - own_start_s, time.perf_counter() - start_s
    own_share = own_s / elapsed_s / (psutil.cpu_count() or 1)
    return float(min(max(share - own_share, 0.0), 1.0))


class OtherWork:
    """Measures how much of the machine others use while this process and its children work.

    It only reads counters of the system, so that it costs the work nothing.
    """

    def __init__(self) -> None:
        self.counted = _cpu_seconds()

    def lap(self) -> tuple[float, float]:
        """Seconds of all cores since the last lap: in total, and those that others used.

        A child process counts as this one's work once it has ended and was waited for.
        """
        before, self.counted = self.counted, _cpu_seconds()
        total_s, others_s = (now - then for now, then in zip(self.counted, before, strict=True))
        return max(total_s, 0.0), min(max(others_s, 0.0), max(total_s, 0.0))

    def share(self) -> float:
        """Share of all cores' time since the last lap that others used, 0 to 1."""
        total_s, others_s = self.lap()
        return others_s / total_s if total_s else 0.0


def _cpu_seconds() -> tuple[float, float]:
    """Seconds of all cores so far: in total, and those that other processes and guests used."""
    times, own = psutil.cpu_times(), psutil.Process().cpu_times()
    # Linux counts a guest's time twice, and a core that waits for a disk is idle.
    twice, waiting = (
        sum(getattr(times, name, 0.0) for name in names)
        for names in (("guest", "guest_nice"), ("idle", "iowait"))
    )
    total_s = sum(times) - twice
    return total_s, total_s - waiting - sum(own[:4])


def interference_warnings(before: Facts, after: Facts) -> tuple[str, ...]:
    """One sentence for each thing that may have interfered with a measurement.

    Args:
        before: machine_fingerprint() just before it, with the result of measure_interference() as
            'busy_share' if it was measured. A fact that is missing or None gives no warning.
        after: machine_fingerprint() just after it, while a GPU is still warm, with the share of
            OtherWork during it as 'busy_share' if it was measured.
    """
    return (
        *_busy_before(before),
        *other_work(before),
        *_busy_meanwhile(after),
        *_cpu_warnings(before, after),
        *_gpu_warnings(before, after),
    )


def _busy_before(before: Facts) -> Iterator[str]:
    if (busy := before.get("busy_share")) is not None and busy > MAX_INTERFERENCE:
        yield f"Other processes kept {busy:.0%} of all cores busy just before the start."


def other_work(before: Facts, *, on_gpu: bool = True) -> Iterator[str]:
    """One sentence for each sign of other work that a share of the cores' time does not show.

    Args:
        before: See interference_warnings().
        on_gpu: Whether a GPU is used, whose other processes then count too.
    """
    load, cpus = before.get("load_average"), before.get("logical_cpus")
    if load and cpus and load[0] > MAX_LOAD_PER_CPU * cpus:
        yield (
            f"The load average before the start was {load[0]:.2f} on {cpus} cores, above "
            f"{MAX_LOAD_PER_CPU:g} a core: wait until other work has ended."
        )
    for gpu in (on_gpu and before.get("gpus")) or ():
        if (used := gpu.get("utilization_share")) is not None and used > MAX_INTERFERENCE:
            yield f"{_gpu_name(gpu)} was {used:.0%} busy just before the start."


def _busy_meanwhile(after: Facts) -> Iterator[str]:
    if (busy := after.get("busy_share")) is not None and busy > MAX_INTERFERENCE:
        yield f"Other processes used {busy:.0%} of all cores during the measurement."


def _cpu_warnings(before: Facts, after: Facts) -> Iterator[str]:
    governors = {name for facts in (before, after) for name in facts.get("governors") or ()}
    if slow := sorted(governors - {"performance"}):
        yield (
            f"The frequency governor is {', '.join(slow)}, not performance: the clock may follow "
            "the load; set it with cpupower frequency-set -g performance."
        )
    first, last = (facts.get("thermal_throttle_count") for facts in (before, after))
    if first is not None and last is not None and last > first:
        yield "Heat slowed the CPU during the measurement (thermal throttling)."
    if before.get("on_battery") or after.get("on_battery"):
        yield "The machine ran on battery power: plug it in."
    quota = before.get("quota_cpus")
    cpus = before.get("affinity_cpus") or before.get("logical_cpus")
    if quota is not None and cpus is not None and quota < cpus:
        yield (
            f"The control group grants {quota:g} of {cpus} cores: more threads than that are "
            "stopped for part of each period."
        )


def _gpu_warnings(before: Facts, after: Facts) -> Iterator[str]:
    for states in _paired_gpus(before.get("gpus") or [], after.get("gpus") or []):
        name = _gpu_name(states[0])
        reasons = {word for gpu in states for word in gpu.get("throttle_reasons") or ()}
        if held := sorted(reasons - HARMLESS_REASONS):
            yield f"{name} was throttled: {', '.join(held)}{_kinds(held)}."
        limit, default = states[-1].get("power_limit_w"), states[-1].get("default_power_limit_w")
        if limit is not None and default is not None and limit < default:
            yield f"{name} has a power limit of {limit:g} W, below its default of {default:g} W."


def _paired_gpus(
    before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], ...]]:
    """Each GPU's states in time order; a query that failed leaves one of them out."""
    if len(before) == len(after):
        yield from zip(before, after, strict=True)
    else:
        yield from ((gpu,) for gpu in (*before, *after))


def _kinds(reasons: Iterable[str]) -> str:
    """' (heat)', ' (power)' or both, where the reasons' words say so."""
    words = " ".join(reasons)
    kinds = [kind for kind, word in (("heat", "thermal"), ("power", "power")) if word in words]
    return f" ({' and '.join(kinds)})" if kinds else ""


def _gpu_name(gpu: Facts) -> str:
    return f"GPU {gpu.get('name') or 'without a name'}"
