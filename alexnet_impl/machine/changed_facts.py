"""Differences between two machines or two software environments that make times incomparable."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from alexnet_impl.machine.facts import Facts

MEMORY_TOLERANCE = 0.1
"""Share of the larger memory; firmware, kernel and hypervisor each keep some of it back."""


def damage(facts: object) -> str:
    """What of a fingerprint from a file can be none; '' if nothing of what is compared."""
    if not isinstance(facts, dict):
        return f"machine={facts!r:.60} must be an object"
    for name, (kinds, words) in _KINDS.items():
        value = facts.get(name)
        if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
            return f"{name}={value!r:.60} of the machine must be {words}"
    for gpu in facts.get("gpus") or ():
        if not isinstance(gpu, dict):
            return f"gpus holds {gpu!r:.60}, which must be an object"
    return ""


_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "gpus": ((list,), "a list"),
    "memory_bytes": ((int, float), "a number"),
    "variables": ((dict,), "an object"),
}


def machine_differences(old: Facts, new: Facts) -> tuple[str, ...]:
    """Where two fingerprints differ so that their times cannot be compared: 'cpu: A -> B'.

    A fact that only one of them tells counts as a difference: it was not shown to be the same.
    Memory may differ by MEMORY_TOLERANCE.
    """
    found = [*_changes(old, new, _MACHINE_FACTS)]
    sizes = [facts.get("memory_bytes") for facts in (old, new)]
    if not _alike(*sizes):
        first, second = (None if size is None else f"{size / 2**30:.1f} GiB" for size in sizes)
        found.append(f"memory: {_told(first)} -> {_told(second)}")
    return tuple(found)


def software_differences(old: Facts, new: Facts) -> tuple[str, ...]:
    """Where else two fingerprints differ, in what an update or a setting changes."""
    names = sorted({*(old.get("variables") or {}), *(new.get("variables") or {})})
    variables = (
        f"{name}: {_variable(old, name)} -> {_variable(new, name)}"
        for name in names
        if _variable(old, name) != _variable(new, name)
    )
    return (*_changes(old, new, _SOFTWARE_FACTS), *variables)


def _alike(first: float | None, second: float | None) -> bool:
    if first is None or second is None:
        return first is second
    return abs(first - second) <= MEMORY_TOLERANCE * max(first, second)


def _variable(facts: Facts, name: str) -> str:
    variables = facts.get("variables")
    return "unknown" if variables is None else str(variables.get(name, "unset"))


def _fact(key: str) -> Callable[[Facts], Any]:
    return lambda facts: facts.get(key)


def _of_gpus(key: str) -> Callable[[Facts], list[str] | None]:
    """What each GPU says, sorted; None where nobody looked for GPUs."""

    def values(facts: Facts) -> list[str] | None:
        gpus = facts.get("gpus")
        return None if gpus is None else sorted(_told(gpu.get(key)) for gpu in gpus)

    return values


_MACHINE_FACTS: Mapping[str, Callable[[Facts], Any]] = {
    "cpu": _fact("cpu"),
    "cpu signature": _fact("cpu_signature"),
    "cpu features": _fact("cpu_features"),
    "architecture": _fact("architecture"),
    "physical cores": _fact("physical_cpus"),
    "usable cores": _fact("usable_cpus"),
    "gpu": _of_gpus("name"),
}


_SOFTWARE_FACTS: Mapping[str, Callable[[Facts], Any]] = {
    "operating system": _fact("operating_system"),
    "kernel": _fact("kernel"),
    "hypervisor": _fact("hypervisor"),
    "container": lambda facts: facts.get("container", "unknown") or "none",
    "governor": _fact("governors"),
    "turbo": _fact("turbo"),
    "max frequency (MHz)": _fact("max_frequency_mhz"),
    "preloaded libraries": _fact("preloaded_libraries"),
    "gpu driver": _of_gpus("driver"),
    "gpu power limit (W)": _of_gpus("power_limit_w"),
    "gpu persistence": _of_gpus("persistence"),
}


def _changes(old: Facts, new: Facts, facts: Mapping[str, Callable[[Facts], Any]]) -> Iterator[str]:
    for label, of in facts.items():
        first, second = of(old), of(new)
        if first != second:
            yield f"{label}: {_told(first)} -> {_told(second)}"


def _told(value: Any) -> str:
    match value:
        case None:
            return "unknown"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case list() | tuple():
            return ", ".join(_told(item) for item in value) or "none"
        case _:
            return str(value)
