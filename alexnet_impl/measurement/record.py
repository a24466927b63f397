"""What benchmarks found, as a file: of `alexnet bench`, and of pytest-benchmark.

Both hold the same entry for a measured case: the first in its list `measured`, the second as
`extra_info["alexnet"]` of a benchmark, and `extra_info["alexnet second"]` of one that has let two
sides take turns.
"""

import json
import math
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alexnet_impl.errors import RunError
from alexnet_impl.measurement.case import complete_key
from alexnet_impl.measurement.gate import Gate
from alexnet_impl.measurement.paired import Compared, Measured
from alexnet_impl.weights import write_bytes

SCHEMA_VERSION = 1
FILE_NAME = "bench.json"
EXTRA = "alexnet"
"""Key of a benchmark's extra_info under which its entry lies."""
EXTRA_SECOND = "alexnet second"
"""Key of the other side's entry, where a benchmark has let two take turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One measured case, as a file keeps it.

    Attributes:
        title: For people: two files may call one case differently.
        key: What makes two entries the same case.
        times_s: Seconds per call, one for each group of calls.
        amount: How much a call does, in `unit`.
        unit: 'images' or 'models'.
        peaks: What the machine's calibration kernels reached in the same process.
        rest: Everything else that was measured.
    """

    title: str
    key: dict[str, Any]
    times_s: tuple[float, ...]
    amount: float
    unit: str
    peaks: dict[str, float]
    rest: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """All that one file holds.

    Attributes:
        path: The file.
        machine: Its fingerprint.
        entries: In the order measured.
        no_room: Keys of the cases that did not fit into memory.
        measured_at: When it was written, as the file says it.
        pairs: Of `alexnet bench`: the titles `first` and `second`, the `ratio` with its interval,
            the `verdict` and the `gate` of two sides that took turns, as the file has them; ratio
            and verdict are None where the gate did not hold.
    """

    path: Path
    machine: dict[str, Any]
    entries: tuple[Entry, ...]
    no_room: tuple[dict[str, Any], ...] = ()
    measured_at: str = ""
    pairs: tuple[dict[str, Any], ...] = ()


def entry_of(measured: Measured, gate: Gate | None = None) -> dict[str, Any]:
    """Plain values of one measured case for JSON."""
    low = dict(asdict(measured))
    del low["case"]
    return low | {
        "title": measured.case.title,
        "key": measured.case.key,
        "case": measured.case.to_dict(),
        "call_s": measured.call_s,
        "per_second": measured.per_second,
        "fraction_of_peak": measured.fraction_of_peak,
        "gate": None if gate is None else gate.to_dict(),
    }


def write_recording(
    folder: Path,
    machine: dict[str, Any],
    measured: list[dict[str, Any]],
    compared: list[tuple[Compared, Gate | None]],
) -> None:
    """Write bench.json into a folder, whole or not at all.

    Args:
        folder: An existing one.
        machine: Its fingerprint.
        measured: Entries of entry_of().
        compared: Pairs, with what the gate before each said.
    """
    plain = {
        "schema_version": SCHEMA_VERSION,
        "datetime": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "measured": measured,
        "compared": [_pair(done, gate) for done, gate in compared],
    }
    write_bytes(folder / FILE_NAME, json.dumps(_finite(plain), indent=1).encode())


def _pair(done: Compared, gate: Gate | None) -> dict[str, Any]:
    """Plain values of two sides that took turns; no ratio of models that were found to differ."""
    comparable = gate is None or gate.holds
    return {
        "first": done.first.case.title,
        "second": done.second.case.title,
        "ratio": asdict(done.ratio) if comparable else None,
        "verdict": done.verdict if comparable else None,
        "plan": asdict(done.plan),
        "gate": None if gate is None else gate.to_dict(),
    }


def _finite(value: Any) -> Any:
    """JSON has no infinity and no NaN: None stands for both."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def read_recording(path: Path) -> Recording:
    """What `alexnet bench` wrote, or pytest-benchmark over this project's benchmarks.

    Args:
        path: The file, or the folder of `alexnet bench`.

    Raises:
        RunError: If it is missing, damaged, of another release, or holds no case of ours.
    """
    path = path / FILE_NAME if path.is_dir() else path
    try:
        plain = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise RunError(f"{path}: there is no such file; `alexnet bench` writes one.") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: is no benchmark file, or is damaged ({error}).") from error
    pairs: tuple[dict[str, Any], ...] = ()
    try:
        if "benchmarks" in plain:
            extras = [entry["extra_info"] for entry in plain["benchmarks"]]
            found = [extra.get(key) for extra in extras for key in (EXTRA, EXTRA_SECOND)]
            machine = plain["machine_info"][EXTRA]
        else:
            _check_version(path, plain)
            found, machine = plain["measured"], plain["machine"]
            pairs = tuple(dict(pair) for pair in plain.get("compared", ()))
        ours = [entry for entry in found if entry is not None]
        entries = tuple(_read_entry(entry) for entry in ours if "out_of_memory" not in entry)
        no_room = tuple(complete_key(entry) for entry in ours if "out_of_memory" in entry)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RunError(
            f"{path}: is no file of these benchmarks, or is damaged: {error!r}"
        ) from error
    if not entries and not no_room:
        raise RunError(f"{path}: holds no measured case; run `alexnet bench` or the benchmarks.")
    return Recording(
        path=path,
        machine=dict(machine),
        entries=entries,
        no_room=no_room,
        measured_at=str(plain.get("datetime", "")),
        pairs=pairs,
    )


def _check_version(path: Path, plain: dict[str, Any]) -> None:
    if (version := plain.get("schema_version")) != SCHEMA_VERSION:
        raise RunError(
            f"{path}: has schema_version={version!r}; this release reads {SCHEMA_VERSION}."
        )


def _read_entry(entry: dict[str, Any]) -> Entry:
    known = ("title", "key", "times_s", "amount", "unit", "peaks")
    return Entry(
        title=str(entry["title"]),
        key=complete_key(entry),
        times_s=tuple(float(value) for value in entry["times_s"]),
        amount=float(entry["amount"]),
        unit=str(entry["unit"]),
        peaks={name: float(value) for name, value in entry["peaks"].items()},
        rest={name: value for name, value in entry.items() if name not in known},
    )
