"""Benchmark files of other programs: what pytest-benchmark writes, and the names of the rest.

References:
    https://pytest-benchmark.readthedocs.io (schema of its JSON; `data` only with
    --benchmark-json or --benchmark-save-data); https://asv.readthedocs.io/en/stable/dev.html;
    https://pyperf.readthedocs.io/en/latest/api.html; https://github.com/google/benchmark.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NotRequired, TypedDict

from alexnet_impl.typed_json import read

_Object = dict[str, Any]


class Stats(TypedDict):
    """Figures of one benchmark of pytest-benchmark, in seconds per call."""

    mean: float
    stddev: float
    rounds: int
    data: NotRequired[list[float]]


class OtherBenchmark(TypedDict):
    """One benchmark of pytest-benchmark, as far as it is read."""

    name: str
    fullname: NotRequired[str]
    group: NotRequired[str | None]
    stats: Stats


def read_benchmarks(content: Mapping[str, Any]) -> Iterator[OtherBenchmark]:
    """Yields the benchmarks of a file of pytest-benchmark, of any origin.

    Raises:
        RecordError: If a field is missing or of another type.
    """
    for found in read(list[_Object], content["benchmarks"], "benchmarks"):
        yield read(OtherBenchmark, found, "benchmarks")


def machine_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """The machine of a file of pytest-benchmark, as far as it names it."""
    machine = read(_Object, content.get("machine_info") or {}, "machine_info")
    cpu = machine.get("cpu")
    cpu = cpu if isinstance(cpu, dict) else {}
    facts = {
        "cpu": cpu.get("brand_raw") or cpu.get("brand"),
        "architecture": machine.get("machine"),
        "kernel": machine.get("release"),
    }
    return {name: value for name, value in facts.items() if value}


def python_of(content: Mapping[str, Any]) -> str:
    """The Python that ran the benchmarks: 'CPython 3.13.1'."""
    machine = content.get("machine_info") or {}
    return f"{machine.get('python_implementation')} {machine.get('python_version')}"


def other_program(content: object) -> str:
    """The program whose benchmark file this is, with its own way to compare two; '' if unknown."""
    if not isinstance(content, dict):
        return ""
    names = set(content)
    first = content.get("benchmarks") or content.get("results") or [{}]
    inner = set(first[0]) if isinstance(first, list) and isinstance(first[0], dict) else set()
    if {"results", "commit_hash"} <= names or {"result_columns", "results"} <= names:
        return "a result file of asv; compare two with `asv compare COMMIT1 COMMIT2`"
    if _is_asv_list(content):
        return "asv's list of benchmarks, without times; compare with `asv compare COMMIT1 COMMIT2`"
    if "runs" in inner:
        return "a file of pyperf; compare two with `python -m pyperf compare_to OLD NEW`"
    if "real_time" in inner:
        return "a file of Google Benchmark; compare two with its tools/compare.py"
    if {"command", "mean"} <= inner:
        return "a file of hyperfine, which compares within one run"
    return ""


def _is_asv_list(content: _Object) -> bool:
    """Whether this is asv's benchmarks.json: descriptions by name."""
    rest = [value for name, value in content.items() if name != "version"]
    return bool(rest) and all(
        isinstance(one, dict) and {"code", "type"} <= set(one) for one in rest
    )
