"""The page of `alexnet bench`: speeds, their ratio and its verdict, the rounds, and the machine."""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from alexnet_impl.measurement.measured_cases import Gate, MeasuredPair
from alexnet_impl.measurement.recording import BenchmarkEntry, Recording, read_recording
from alexnet_impl.report import formatting as numbers
from alexnet_impl.report.bench.rounds_figure import rounds_figure
from alexnet_impl.report.bench.speeds import share_text
from alexnet_impl.report.figure_style import inline_svg, write_figure
from alexnet_impl.report.formatting import COLOURS, flat, framework_label
from alexnet_impl.report.templates import BigFigure, render_page, write_page

_HEADER = ("", "per second", "per call", "groups", "% of peak FLOP/s", "peak memory", "first call")
_SHOWN_ELSEWHERE = ("cpu_features",)


def write_bench_pictures(folder: Path, pairs: Iterable[tuple[MeasuredPair, Gate | None]]) -> Path:
    """Write bench.html from a folder's bench.json, and rounds.png of two sides that are equal.

    Args:
        folder: The folder of a benchmark that has ended.
        pairs: Two sides with their gate, if two were measured.

    Returns:
        The path of the page.

    Raises:
        RunError: If a file cannot be written.
    """
    figure = None
    for done, gate in pairs:
        if gate is None or gate.holds:
            figure = rounds_figure(done)
            write_figure(folder / "rounds.png", figure)
    page = folder / "bench.html"
    write_bench_page(page, read_recording(folder), figure)
    return page


def write_bench_page(path: Path, recording: Recording, figure: Figure | None) -> None:
    """Write the page of a benchmark file, whole or not at all.

    Args:
        path: The .html file.
        recording: The content of bench.json.
        figure: The rounds of two sides; None for one side, or if the models differ.

    Raises:
        RunError: If the file cannot be written.
    """
    pair = recording.pairs[0] if recording.pairs else None
    timed = [entry for entry in recording.entries if entry.times_s]
    context = {
        "title": f"Benchmark of {' and '.join(entry.title for entry in recording.entries)}"
        if recording.entries
        else "Benchmark: out of memory",
        "headline": _headline(recording, pair),
        "notes": [],
        "warnings": list(_warnings(recording)),
        "is_settled": pair is None or (pair["verdict"] is not None and pair["ratio"] is not None),
        "sides": list(_sides(timed)),
        "ratio": None if pair is None else _ratio(pair),
        "image": None if figure is None else inline_svg(figure),
        "header": _HEADER,
        "rows": [_row(entry) for entry in timed],
        "gate": [] if pair is None else _gate_rows(pair),
        "cases": [(entry.title, list(flat(entry.rest.get("case", {})))) for entry in timed],
        "environments": [(entry.title, list(flat(entry.rest["framework"]))) for entry in timed],
        "facts": list(_facts(recording)),
        "machine": [
            row for row in flat(recording.machine) if not row[0].startswith(_SHOWN_ELSEWHERE)
        ],
    }
    write_page(path, render_page("bench/bench.html.jinja", context))


def _headline(recording: Recording, pair: dict[str, Any] | None) -> str:
    if pair is None:
        found = [entry for entry in recording.entries if entry.times_s]
        if not found:
            return "Out of memory: nothing was timed"
        return f"{_name(found[0])}: {_rate(found[0])} {found[0].unit}/s"
    first, second = _names(recording)
    if pair["ratio"] is None:
        return f"No ratio: the models of {first} and {second} differ"
    margin = numbers.percent(pair["plan"]["margin"])
    if not _has_interval(pair):
        return f"{first} / {second}: too few rounds for an interval"
    return {
        "faster": f"{first} is faster than {second} by more than {margin}",
        "slower": f"{first} is slower than {second} by more than {margin}",
        "undecided": f"No speed difference above {margin} was shown between {first} and {second}",
    }[pair["verdict"]]


def _names(recording: Recording) -> tuple[str, str]:
    """Names of the two sides: the frameworks, or if they are the same the titles."""
    names = [_name(entry) for entry in recording.entries[:2]]
    if len(set(names)) < len(names):
        names = [entry.title for entry in recording.entries[:2]]
    return names[0], names[1]


def _name(entry: BenchmarkEntry) -> str:
    return framework_label(_framework(entry))


def _framework(entry: BenchmarkEntry) -> str:
    return str(entry.key.get("framework", ""))


def _rate(entry: BenchmarkEntry) -> str:
    return numbers.rate(entry.rest["per_second"])


def _has_interval(pair: dict[str, Any]) -> bool:
    high = pair["ratio"]["high"]
    return isinstance(high, int | float) and math.isfinite(high)


def _sides(entries: Sequence[BenchmarkEntry]) -> Iterator[BigFigure]:
    """The speed of each side in large type."""
    seen: list[str] = []
    for entry in entries:
        shades = COLOURS.get(_framework(entry), ("#6c757d",))
        colour = shades[seen.count(_framework(entry)) % len(shades)]
        seen.append(_framework(entry))
        details = [f"{numbers.seconds(entry.rest['call_s'])} per call"]
        if (share := entry.rest.get("fraction_of_peak")) is not None:
            details.append(f"{numbers.percent(share)} of peak FLOP/s")
        yield BigFigure(
            label=_name(entry),
            value=_rate(entry),
            unit=f"{entry.unit}/s",
            details=tuple(details),
            colour=colour,
        )


def _ratio(pair: dict[str, Any]) -> BigFigure:
    """The ratio of the two speeds, or why there is none."""
    ratio = pair["ratio"]
    if ratio is None:
        outcome = (pair["gate"] or {}).get("outcome", "not compared")
        return BigFigure(label="first / second", value=numbers.MISSING, details=(outcome,))
    interval = "no interval"
    if _has_interval(pair):
        interval = (
            f"{100 * ratio['confidence']:g}% interval {ratio['low']:.3f} to {ratio['high']:.3f}"
        )
    rounds = f"timed in turns, {ratio['rounds']} round{'s' * (ratio['rounds'] != 1)}"
    value = f"{ratio['ratio']:.3f}x"
    return BigFigure(label="first / second", value=value, details=(interval, rounds))


def _warnings(recording: Recording) -> Iterator[str]:
    """Yields what may have interfered, then the doubts about the times of each side."""
    if recording.entries and (told := recording.stopped_after(recording.entries[0])):
        yield f"The benchmark was {told}."
    yield from recording.interference.warnings
    for entry in recording.entries:
        yield from (f"{entry.title}: {warning}" for warning in entry.rest.get("warnings", ()))


def _row(entry: BenchmarkEntry) -> tuple[str, ...]:
    rest = entry.rest
    share, held = rest.get("fraction_of_peak"), rest.get("memory") or {}
    return (
        entry.title,
        f"{rest['per_second']:,.1f} {entry.unit}",
        numbers.seconds(rest["call_s"]),
        f"{len(entry.times_s)} of {rest['calls_per_group']} calls",
        numbers.MISSING
        if share is None
        else share_text(share, rest.get("fraction_of_peak_interval")),
        numbers.mebibytes(held.get("device") or held.get("process") or 0),
        numbers.seconds(rest["first_call_s"]),
    )


def _gate_rows(pair: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    """Name, measured difference, tolerance and outcome of each check of the gate."""
    return [
        (name, _scientific(measured), _scientific(tolerance), _holds(measured, tolerance))
        for name, measured, tolerance in (pair["gate"] or {}).get("checks", ())
    ]


def _scientific(value: float | None) -> str:
    return numbers.MISSING if value is None else f"{value:.1e}"


def _holds(measured: float | None, tolerance: float | None) -> bool:
    return measured is not None and tolerance is not None and measured <= tolerance


def _facts(recording: Recording) -> Iterator[tuple[str, str]]:
    """Versions, processor or GPU, threads and date, for the first screen."""
    packages = recording.machine.get("packages") or {}
    shown = [f"{n} {packages[n]}" for n in ("torch", "tensorflow", "keras") if n in packages]
    if shown:
        yield "versions", ", ".join(shown)
    cores = recording.machine.get("usable_cpus") or recording.machine.get("logical_cpus")
    if name := recording.machine.get("cpu"):
        yield "processor", f"{name}, {cores} cores"
    if gpus := recording.machine.get("gpus"):
        yield "GPU", ", ".join(str(gpu.get("name")) for gpu in gpus)
    threads = {
        str(
            entry.rest["framework"].get("threads")
            or entry.rest["framework"].get("intra_op_threads")
        )
        for entry in recording.entries
        if entry.rest.get("framework")
    } - {"None"}
    if threads:
        yield "threads", " / ".join(sorted(threads))
    if recording.measured_at:
        yield "measured", recording.measured_at[:16].replace("T", " ")
