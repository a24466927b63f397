"""What a benchmark measured, as lines for the terminal."""

from alexnet_impl.measurement.gate import Gate
from alexnet_impl.measurement.paired import Compared, Measured
from alexnet_impl.measurement.statistics import Ratio
from alexnet_impl.report.numbers import mebibytes, percent, seconds


def measured_lines(measured: Measured) -> list[str]:
    """Speed, share of the peak, memory and first call of one side; warnings below it."""
    facts = [
        f"{measured.per_second:,.1f} {measured.unit}/s",
        f"{seconds(measured.call_s)} a call",
        f"{len(measured.times_s)} groups of {measured.calls_per_group}",
    ]
    if measured.fraction_of_peak is not None:
        facts.append(f"{percent(measured.fraction_of_peak)} of the matrix product's peak")
    held = measured.memory["device"] or measured.memory["process"] or 0
    facts += [f"{mebibytes(held)} at most", f"first call {seconds(measured.first_call_s)}"]
    lines = [f"{measured.case.title}: " + ", ".join(facts)]
    return lines + [f"    warning: {warning}" for warning in measured.warnings]


def compared_lines(compared: Compared, gate: Gate | None) -> list[str]:
    """The ratio and what may be said of it; none of two models that were found to differ."""
    first, second = compared.first.case.title, compared.second.case.title
    if gate is not None and not gate.holds:
        return [f"gate: {gate.outcome}", "no ratio: the two models are not the same."]
    lines = [] if gate is None else [f"gate: {gate.outcome} (logits, gradients, updates)"]
    ratio, margin = compared.ratio, percent(compared.plan.margin)
    known = f"{ratio_text(ratio)} at {percent(ratio.confidence)}, {ratio.rounds} rounds"
    said = {
        "faster": f"{first} is faster by more than {margin}",
        "slower": f"{first} is slower by more than {margin}",
        "undecided": f"undecided at a margin of {margin}",
    }
    return [*lines, f"{first} / {second}: {known}: {said[compared.verdict]}"]


def ratio_text(ratio: Ratio) -> str:
    """'1.203 x [1.190, 1.215]'."""
    return f"{ratio.ratio:.3f} x [{ratio.low:.3f}, {ratio.high:.3f}]"
