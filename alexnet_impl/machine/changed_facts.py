"""Differences between two machines or two software environments that make times incomparable."""

from collections.abc import Iterator
from typing import Any

from alexnet_impl.machine.fact import Category, Fact, Facts
from alexnet_impl.machine.facts import FACTS
from alexnet_impl.machine.gpu import GPU_FACTS

_KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    dict: ((dict,), "an object"),
    float: ((int, float), "a number"),
    int: ((int, float), "a number"),
    list: ((list,), "a list"),
    str: ((str,), "a text"),
}


def damage(facts: object) -> str:
    """Say what is wrong with a fingerprint that was read from a file; '' if nothing is."""
    if not isinstance(facts, dict):
        return f"machine={facts!r:.60} must be an object"
    for fact in FACTS:
        value, (kinds, words) = facts.get(fact.name), _KINDS[fact.kind]
        boolean = isinstance(value, bool) and fact.kind is not bool
        if value is not None and (boolean or not isinstance(value, kinds)):
            return f"{fact.name}={value!r:.60} of the machine must be {words}"
    for gpu in facts.get("gpus") or ():
        if not isinstance(gpu, dict):
            return f"gpus holds {gpu!r:.60}, which must be an object"
    return ""


def machine_differences(old: Facts, new: Facts) -> tuple[str, ...]:
    """List where two machines differ so that their times cannot be compared: 'cpu: A -> B'.

    A fact that only one of them tells counts as a difference: it was not shown to be the same.
    """
    return tuple(_differences(old, new, "machine"))


def software_differences(old: Facts, new: Facts) -> tuple[str, ...]:
    """List where two fingerprints differ in what an update or a setting changes."""
    return tuple(_differences(old, new, "software"))


def _differences(old: Facts, new: Facts, category: Category) -> Iterator[str]:
    for fact in FACTS:
        if fact.category != category:
            continue
        if fact.kind is dict:
            yield from _entry_differences(old.get(fact.name), new.get(fact.name))
        elif not _alike(fact, old, new):
            yield f"{_label(fact)}: {_value(fact, old)} -> {_value(fact, new)}"
    for fact in GPU_FACTS:
        first, second = _gpu_values(fact, old), _gpu_values(fact, new)
        if fact.category == category and first != second:
            yield f"{_label(fact)}: {_told(first)} -> {_told(second)}"


def _entry_differences(old: Facts | None, new: Facts | None) -> Iterator[str]:
    """Differences between two objects, such as the environment variables that are set."""
    for name in sorted({*(old or {}), *(new or {})}):
        first, second = (
            "unknown" if entries is None else str(entries.get(name, "unset"))
            for entries in (old, new)
        )
        if first != second:
            yield f"{name}: {first} -> {second}"


def _alike(fact: Fact, old: Facts, new: Facts) -> bool:
    first, second = old.get(fact.name), new.get(fact.name)
    if fact.tolerance and first is not None and second is not None:
        return bool(abs(first - second) <= fact.tolerance * max(first, second))
    return bool(first == second) and _value(fact, old) == _value(fact, new)


def _gpu_values(fact: Fact, facts: Facts) -> list[str] | None:
    """The fact of each GPU in words, sorted; None where nobody looked for GPUs."""
    gpus = facts.get("gpus")
    return None if gpus is None else sorted(_told(gpu.get(fact.name)) for gpu in gpus)


def _label(fact: Fact) -> str:
    return fact.label or fact.name.replace("_", " ")


def _value(fact: Fact, facts: Facts) -> str:
    value = facts.get(fact.name)
    if value is None and fact.name in facts:
        return fact.absent
    return f"{value / 2**30:.1f} GiB" if fact.unit == "B" and value is not None else _told(value)


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
