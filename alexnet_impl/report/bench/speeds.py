"""Speeds and speed ratios of a benchmark as lines for the terminal and columns of pytest."""

import math
from collections.abc import Sequence
from typing import Any

from alexnet_impl.files import finite
from alexnet_impl.measurement.measured_cases import Gate, MeasuredCase, MeasuredPair
from alexnet_impl.measurement.recording import EXTRA, EXTRA_SECOND
from alexnet_impl.report.formatting import mebibytes, percent, seconds
from alexnet_impl.stats.speed_ratios import FEWEST_FOR_INTERVAL, Ratio


def measured_lines(measured: MeasuredCase) -> list[str]:
    """Speed, % of peak FLOP/s, memory and first call of one side, then its warnings."""
    facts = [
        f"{measured.per_second:,.1f} {measured.unit}/s",
        f"{seconds(measured.call_s)} per call",
        f"{len(measured.times_s)} groups of {measured.calls_per_group}",
    ]
    if measured.fraction_of_peak is not None:
        share = share_text(measured.fraction_of_peak, measured.fraction_of_peak_interval)
        facts.append(f"{share} of peak FLOP/s")
    held = measured.memory["device"] or measured.memory["process"] or 0
    facts += [f"{mebibytes(held)} peak memory", f"first call {seconds(measured.first_call_s)}"]
    lines = [f"{measured.case.title}: " + ", ".join(facts)]
    return lines + [f"    warning: {warning}" for warning in measured.warnings]


def pair_lines(compared: MeasuredPair, gate: Gate | None) -> list[str]:
    """The gate's outcome, the ratio and its verdict; without a ratio if the models differ."""
    first, second = compared.first.case.title, compared.second.case.title
    if gate is not None and not gate.holds:
        return [f"gate: {gate.outcome}", "no ratio: the two models differ."]
    lines = [] if gate is None else [f"gate: {gate.outcome}"]
    ratio, margin = compared.ratio, percent(compared.plan.margin)
    if not math.isfinite(ratio.high):
        few = f"no interval: {ratio.rounds} rounds, and at least {FEWEST_FOR_INTERVAL} are needed"
        more = "increase --rounds or --budget"
        return [*lines, f"{first} / {second}: {ratio.ratio:.3f} x, {few}; {more}."]
    known = f"{ratio_text(ratio)} at {percent(ratio.confidence)}, {ratio.rounds} rounds"
    said = {
        "faster": f"{first} is faster by more than {margin}",
        "slower": f"{first} is slower by more than {margin}",
        "undecided": f"undecided at a margin of {margin}",
    }
    return [*lines, f"{first} / {second}: {known}: {said[compared.verdict]}"]


def ratio_text(ratio: Ratio) -> str:
    """Ratio with its interval, as '1.203 x [1.190, 1.215]'."""
    return _interval_text(ratio.ratio, ratio.low, ratio.high)


def share_text(share: float, interval: Sequence[float] | None) -> str:
    """Share of the peak with its interval in percent, as '91.67% [88.1, 95.0]'."""
    if interval is None:
        return percent(share)
    return f"{percent(share)} [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


def _interval_text(ratio: float, low: float, high: float | None) -> str:
    if high is None or not math.isfinite(high):
        return f"{ratio:.3f} x [no interval]"
    return f"{ratio:.3f} x [{low:.3f}, {high:.3f}]"


def columns(measured: MeasuredCase, gate: Gate | None) -> dict[str, Any]:
    """Columns beside a benchmark's times in extra_info, ready for JSON."""
    return {
        f"{measured.unit}_per_second": measured.per_second,
        "fraction_of_peak": measured.fraction_of_peak,
        "fraction_of_peak_interval": measured.fraction_of_peak_interval,
        "peak_memory_bytes": measured.memory["process"],
        "peak_device_memory_bytes": measured.memory["device"],
        "first_call_s": measured.first_call_s,
        "preparation_s": measured.preparation_s,
        "calls_per_group": measured.calls_per_group,
        "gate": "-" if gate is None else gate.outcome,
    }


def pair_columns(compared: MeasuredPair, gate: Gate | None) -> dict[str, Any]:
    """Columns that two sides in turns add to extra_info; None if their models differ."""
    if gate is not None and not gate.holds:
        return {"ratio": None, "ratio_interval": None, "verdict": None}
    ratio = compared.ratio
    return {
        "ratio": ratio.ratio,
        "ratio_interval": finite([ratio.low, ratio.high]),
        "verdict": compared.verdict,
    }


Rows = Sequence[dict[str, Any]]
"""The extra_info of benchmarks: the entry under EXTRA, and a pair's second entry under
EXTRA_SECOND."""
TABLE_HEADER = (
    f"{'case':<58} {'per second':>12} {'% of peak':>22} {'memory':>10} {'first call':>10}  "
    f"{'first / second':<24} gate"
)


def table_lines(rows: Rows) -> list[str]:
    """Table of benchmarks, each followed by its warnings; a pair's ratio is on its first line."""
    lines = [TABLE_HEADER]
    for extra in rows:
        lines += _lines(extra[EXTRA], _ratio_cell(extra), extra)
        if EXTRA_SECOND in extra:
            lines += _lines(extra[EXTRA_SECOND], "", extra)
    return lines


def _lines(entry: dict[str, Any], ratio: str, extra: dict[str, Any]) -> list[str]:
    warnings = [f"    warning: {warning}" for warning in entry.get("warnings", ())]
    return [_line(entry, ratio, extra), *_target_lines(entry), *warnings]


def _target_lines(entry: dict[str, Any]) -> list[str]:
    """Lines on when whole runs reached their target accuracy; none for other workloads."""
    if (target := entry.get("target")) is None:
        return []
    told = (
        f"    target {percent(target['top1_accuracy'])}: reached by {target['reached']} of "
        f"{target['runs']} runs"
    )
    if target["reached"]:
        told += f", in {target['epochs']} epochs and {seconds(target['training_time_s'])} of steps"
    return [f"{told}; at the end {percent(target['test_top1_accuracy'])} on the test images"]


def _line(entry: dict[str, Any], ratio: str, extra: dict[str, Any]) -> str:
    title = f"{entry['title']:<58}"
    if "out_of_memory" in entry:
        known = entry["out_of_memory"]
        return f"{title} out of memory at batch {known['asked']}; {known['fits']} fits"
    share, held = entry["fraction_of_peak"], entry["memory"]
    interval = entry.get("fraction_of_peak_interval")
    peak = "-" if share is None else share_text(share, interval)
    return (
        f"{title} {entry['per_second']:>12,.1f} "
        f"{peak:>22} "
        f"{mebibytes(held['device'] or held['process'] or 0):>10} "
        f"{seconds(entry['first_call_s']):>10}  "
        f"{ratio:<24} {extra.get('gate', '-')}"
    )


def _ratio_cell(extra: dict[str, Any]) -> str:
    """Speed of a pair's first side over its second; blank where the gate did not hold."""
    if extra.get("ratio") is None:
        return ""
    return _interval_text(extra["ratio"], *extra["ratio_interval"])
