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


def interference_warnings(before: Facts, after: Facts) -> tuple[str, ...]:
    """One sentence for each thing that may have interfered with a measurement.

    Args:
        before: machine_fingerprint() just before it, with the result of measure_interference() as
            'busy_share' if it was measured. A fact that is missing or None gives no warning.
        after: machine_fingerprint() just after it, while a GPU is still warm.
    """
    return (*_load_warnings(before), *_cpu_warnings(before, after), *_gpu_warnings(before, after))


def _load_warnings(before: Facts) -> Iterator[str]:
    load, cpus = before.get("load_average"), before.get("logical_cpus")
    if load and cpus and load[0] > MAX_LOAD_PER_CPU * cpus:
        yield (
            f"The load average before the start was {load[0]:.2f} on {cpus} cores, above "
            f"{MAX_LOAD_PER_CPU:g} a core: wait until other work has ended."
        )
    if (busy := before.get("busy_share")) is not None and busy > MAX_INTERFERENCE:
        yield f"Other processes kept {busy:.0%} of all cores busy just before the start."
    for gpu in before.get("gpus") or ():
        if (used := gpu.get("utilization_share")) is not None and used > MAX_INTERFERENCE:
            yield f"{_gpu_name(gpu)} was {used:.0%} busy just before the start."


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
