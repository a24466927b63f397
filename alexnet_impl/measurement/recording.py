"""Benchmark files: written by `alexnet bench`, read from it and from pytest-benchmark.

Both hold the same entry for one of our cases: `alexnet bench` in its list `measured`,
pytest-benchmark as `extra_info["alexnet"]` of a benchmark, and `extra_info["alexnet second"]` for
the second of two sides that took turns. A case that ran out of memory has no times: it stands in
the same list of the first, and under `alexnet` beside the benchmarks of the second. Files of
pytest-benchmark over other tests are read too: their cases are known by name.
"""

import json
import math
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

from alexnet_impl.errors import RunError
from alexnet_impl.files import finite, write_bytes
from alexnet_impl.machine.changed_facts import damage
from alexnet_impl.measurement.case import complete_key
from alexnet_impl.measurement.measured_cases import (
    GROUPS_PER_PEAK,
    Gate,
    MeasuredCase,
    MeasuredPair,
)
from alexnet_impl.measurement.other_files import (
    OtherBenchmark,
    machine_of,
    other_program,
    python_of,
    read_benchmarks,
)
from alexnet_impl.stats.speed_ratios import Summary
from alexnet_impl.typed_json import parse_json, read

SCHEMA_VERSION = 1
FILE_NAME = "bench.json"
EXTRA = "alexnet"
"""Key of a benchmark's extra_info under which its entry lies."""
EXTRA_SECOND = "alexnet second"
"""Key of the second side's entry, where a benchmark timed two sides in turns."""
AGAIN = "measure again with this release"


OTHER_NAME = "name"
"""The only field in the key of a case of other tests: its name, as pytest has it."""
OTHER_GROUP = "pytest-benchmark"
"""Group of such a case that has none of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkEntry:
    """One measured case of a benchmark file.

    Attributes:
        title: Name for people: two files may call one case differently.
        key: Identity of the case: results are comparable only if their keys are equal.
        times_s: Seconds per call of each group of calls; empty if the file has only `summary`.
        amount: Size of the work of one call, in `unit`.
        unit: 'images', 'models', or 'calls' for other tests.
        peaks: What the calibration kernels reached in the same process, in FLOP/s and B/s. The
            product in the case's precision is measured between the groups on a CPU; pytest's rows
            share the others with the first row of their framework, device and precision.
        rest: Everything else that was measured.
        summary: Mean and deviation of the times, for other tests.
    """

    title: str
    key: dict[str, Any]
    times_s: tuple[float, ...]
    amount: float
    unit: str
    peaks: dict[str, float]
    rest: dict[str, Any] = field(default_factory=dict)
    summary: Summary | None = None

    @property
    def group(self) -> str:
        """Workload and variant, as 'training/cifar'; for other tests, the group of the test."""
        if OTHER_NAME in self.key:
            return str(self.rest["group"])
        return f"{self.key['workload']}/{self.key['variant']}"

    @property
    def peaks_are_medians(self) -> bool:
        """Whether each peak is a median; earlier releases took the best of three rounds."""
        return "peak_rounds" in self.rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Interference:
    """Possible interference with the benchmarks of a file.

    Attributes:
        machine_after: The machine's fingerprint after the last benchmark.
        warnings: One sentence for each finding.
    """

    machine_after: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The findings, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """The content of one benchmark file.

    Attributes:
        path: The file.
        machine: The machine's fingerprint before the benchmarks.
        entries: Measured cases, in the order measured.
        out_of_memory: Keys of the cases that ran out of memory.
        measured_at: Date and time at which the file was written, in ISO format.
        pairs: Two sides that took turns, of `alexnet bench` only: the titles `first` and `second`,
            the `ratio` with its interval, the `verdict` and the `gate`; ratio and verdict are None
            where the gate did not hold.
        interference: What may have interfered.
        complete: Whether the measurement had ended; False if it was stopped, or was still going on.
    """

    path: Path
    machine: dict[str, Any]
    entries: tuple[BenchmarkEntry, ...]
    out_of_memory: tuple[dict[str, Any], ...] = ()
    measured_at: str = ""
    pairs: tuple[dict[str, Any], ...] = ()
    interference: Interference = Interference()
    complete: bool = True

    def stopped_after(self, entry: BenchmarkEntry) -> str:
        """Words on how many rounds an entry has if its bench was stopped; otherwise ''."""
        if self.complete:
            return ""
        count = len(entry.times_s) // (GROUPS_PER_PEAK if self.pairs else 1)
        return f"stopped after {count} round{'s' * (count != 1)}"


def entry_of(measured: MeasuredCase, gate: Gate | None = None) -> dict[str, Any]:
    """One measured case, ready for JSON."""
    values = asdict(measured)
    del values["case"]
    return values | {
        "title": measured.case.title,
        "key": measured.case.key,
        "case": measured.case.to_dict(),
        "call_s": measured.call_s,
        "per_second": measured.per_second,
        "fraction_of_peak": measured.fraction_of_peak,
        "fraction_of_peak_interval": measured.fraction_of_peak_interval,
        "gate": None if gate is None else gate.to_dict(),
    }


def write_recording(
    folder: Path,
    machine: dict[str, Any],
    measured: list[dict[str, Any]],
    compared: list[tuple[MeasuredPair, Gate | None]],
    interference: Interference | None = None,
    *,
    complete: bool = True,
) -> None:
    """Write bench.json into a folder, whole or not at all.

    Args:
        folder: An existing folder.
        machine: The machine's fingerprint before the benchmarks.
        measured: Results of entry_of().
        compared: Pairs, each with its gate.
        interference: What may have interfered, if that was examined.
        complete: Whether the measurement has ended; False in a file that is written after a round.
    """
    content = {
        "schema_version": SCHEMA_VERSION,
        "datetime": datetime.now(UTC).isoformat(timespec="seconds"),
        "complete": complete,
        "machine": machine,
        **(interference or Interference()).to_dict(),
        "measured": measured,
        "compared": [_pair(done, gate) for done, gate in compared],
    }
    write_bytes(folder / FILE_NAME, json.dumps(finite(content), indent=1).encode())


def _pair(done: MeasuredPair, gate: Gate | None) -> dict[str, Any]:
    """Two sides that took turns, ready for JSON; without a ratio if their models differ."""
    comparable = gate is None or gate.holds
    plan = asdict(done.plan)
    del plan["ends_at"]  # a clock of this process
    return {
        "first": done.first.case.title,
        "second": done.second.case.title,
        "ratio": asdict(done.ratio) if comparable else None,
        "verdict": done.verdict if comparable else None,
        "plan": plan,
        "gate": None if gate is None else gate.to_dict(),
    }


def read_recording(path: Path) -> Recording:
    """Read a file of `alexnet bench`, or of pytest-benchmark over any tests.

    Args:
        path: The file, or the folder of `alexnet bench`.

    Raises:
        RunError: If it is missing, damaged, of another release, or holds no measured case.
    """
    path = path / FILE_NAME if path.is_dir() else path
    content = _load(path)
    try:
        found = _of_pytest(path, content) if "benchmarks" in content else _of_bench(path, content)
    except KeyError as error:
        raise RunError(f"{path}: is damaged: {error} is missing; {AGAIN}.") from error
    except (TypeError, AttributeError, ValueError) as error:
        raise RunError(f"{path}: is damaged: {str(error).rstrip('.')}; {AGAIN}.") from error
    if not found.entries and not found.out_of_memory:
        raise RunError(f"{path}: holds no measured case; run `alexnet bench` or the benchmarks.")
    return found


def _load(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(path.read_text())
    except FileNotFoundError as error:
        raise RunError(f"{path}: no such file; `alexnet bench` writes one.") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: is not a benchmark file, or is damaged ({error}).") from error
    if program := other_program(content):
        raise RunError(
            f"{path}: is {program}. Read here are files of `alexnet bench` and of pytest-benchmark."
        )
    if not isinstance(content, dict) or not {"benchmarks", "schema_version"} & set(content):
        raise RunError(
            f"{path}: is not a benchmark file; `alexnet bench` writes one, and `pytest "
            "--benchmark-json FILE` (pytest-benchmark)."
        )
    return content


def _of_pytest(path: Path, content: dict[str, Any]) -> Recording:
    machine = read(_Object, content.get("machine_info") or {}, "machine_info")
    benchmarks = read(list[_Object], content["benchmarks"], "benchmarks")
    extras = [read(_Object, entry.get("extra_info") or {}, "extra_info") for entry in benchmarks]
    session = read(_Object, content.get(EXTRA, {}), EXTRA)
    found = [extra[key] for extra in extras for key in (EXTRA, EXTRA_SECOND) if extra.get(key)]
    found += session.get("out_of_memory", [])
    if EXTRA not in machine or not found:
        return _of_other_tests(path, content)
    return _recording(path, content, found, machine[EXTRA], session)


def _of_other_tests(path: Path, content: dict[str, Any]) -> Recording:
    """The cases of tests that are not this project's benchmarks, by name."""
    machine = machine_of(content)
    if fault := damage(machine):
        raise ValueError(fault)
    environment = {"Python": python_of(content)}
    return Recording(
        path=path,
        machine=machine,
        entries=tuple(_other_entry(one, environment) for one in read_benchmarks(content)),
        measured_at=str(content.get("datetime", "")),
    )


def _other_entry(found: OtherBenchmark, environment: dict[str, str]) -> BenchmarkEntry:
    stats, name = found["stats"], found.get("fullname") or found["name"]
    return BenchmarkEntry(
        title=name,
        key={OTHER_NAME: name},
        times_s=tuple(stats.get("data") or ()),
        amount=1,
        unit="calls",
        peaks={},
        rest={"group": found.get("group") or OTHER_GROUP, "framework": environment},
        summary=Summary(mean_s=stats["mean"], stddev_s=stats["stddev"], rounds=stats["rounds"]),
    )


def _of_bench(path: Path, content: dict[str, Any]) -> Recording:
    if (version := content["schema_version"]) != SCHEMA_VERSION:
        raise RunError(
            f"{path}: has schema_version={version!r}; this release reads {SCHEMA_VERSION}; {AGAIN}."
        )
    found = _recording(path, content, content["measured"], content["machine"], content)
    pairs = read(list[Any], content.get("compared", []), "compared")
    return replace(found, pairs=tuple(_read_pair(pair) for pair in pairs))


def _recording(
    path: Path, content: dict[str, Any], found: Any, machine: Any, session: dict[str, Any]
) -> Recording:
    if fault := damage(machine):
        raise ValueError(fault)
    entries = read(list[_Object], found, "measured")
    for entry in entries:
        read(_Object, entry["key"], "key")
    interference = read(_SessionFields, session)
    return Recording(
        path=path,
        machine=machine,
        entries=tuple(_read_entry(entry) for entry in entries if "out_of_memory" not in entry),
        out_of_memory=tuple(complete_key(entry) for entry in entries if "out_of_memory" in entry),
        measured_at=str(content.get("datetime", "")),
        complete=content.get("complete") is not False,
        interference=Interference(
            machine_after=interference.get("machine_after", {}),
            warnings=tuple(map(str, interference.get("warnings", []))),
        ),
    )


_Object = dict[str, Any]


class _SessionFields(TypedDict, total=False):
    """Fields of a file that say what may have interfered with the measurement."""

    machine_after: _Object
    warnings: list[Any]


class _EntryFields(TypedDict):
    """Fields of an entry that has times."""

    title: str
    key: _Object
    times_s: list[float]
    amount: float
    unit: str
    peaks: dict[str, float]


class _Ratio(TypedDict):
    """Fields of a pair's speed ratio."""

    ratio: float
    low: float
    high: float | None


class _PairFields(TypedDict):
    """Fields of a pair that are computed with."""

    gate: _Object | None
    ratio: _Ratio | None


def _read_entry(entry: _Object) -> BenchmarkEntry:
    known = read(_EntryFields, entry)
    return BenchmarkEntry(
        title=known["title"],
        key=complete_key(entry),
        times_s=tuple(known["times_s"]),
        amount=known["amount"],
        unit=known["unit"],
        peaks=known["peaks"],
        rest={name: value for name, value in entry.items() if name not in known},
    )


def _read_pair(pair: Any) -> _Object:
    """A pair of a file; an interval without an upper end is infinite again."""
    ratio = read(_PairFields, pair)["ratio"]
    if ratio is None:
        return dict(pair)
    high = math.inf if ratio["high"] is None else ratio["high"]
    return dict(pair) | {"ratio": pair["ratio"] | {"high": high}}
