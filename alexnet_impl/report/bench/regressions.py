"""The regression report of `alexnet bench compare` as lines for the terminal."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.text import Text

from alexnet_impl.measurement.regressions import CaseChange, RegressionReport
from alexnet_impl.report import formatting as numbers
from alexnet_impl.report.fitted_table import FittedTable


def regression_lines(report: RegressionReport) -> list[FittedTable | str]:
    """The table of cases, the notes, the cases that only one file holds, and the conclusion.

    The verdict is at the margin; 'REGRESSION' marks a case that is slower beyond its threshold.
    """
    options = report.options
    ratio = "ratio in machine units" if options.normalise else "NEW/OLD speed"
    unit = "calls" if all(case.unit == "calls" for case in report.cases) else "images"
    header = ["case", f"OLD {unit}/s", f"NEW {unit}/s", f"{ratio} [low, high]", "verdict"]
    rows = [header, *(_cells(case, unit) for case in report.cases)]
    return [
        _table(rows),
        *(f"note: {label}" for label in report.labels),
        *(f"out of memory in NEW: {title}" for title in report.out_of_memory),
        *(f"only in OLD: {title}" for title in report.only_old),
        *(f"only in NEW: {title}" for title in report.only_new),
        conclusion(report),
    ]


def regressions_json(report: RegressionReport) -> dict[str, Any]:
    """The report as values, each case with its outcome, for --json."""
    cases = [
        asdict(case)
        | {
            "old_per_second": case.old_per_second,
            "new_per_second": case.new_per_second,
            "regression": case.regression,
            "cleared": case.cleared,
        }
        for case in report.cases
    ]
    return asdict(report) | {"cases": cases, "conclusion": conclusion(report)}


def conclusion(report: RegressionReport) -> str:
    """The numbers of regressions, of cleared cases and of undecided ones, with the thresholds."""
    cases, found = report.cases, report.regressions
    own = sorted({(case.group, case.threshold) for case in cases})
    common = report.options.threshold
    others = ", ".join(f"{group} {_share(share)}" for group, share in own if share != common)
    limits = f"{_share(common)} ({others})" if others else _share(common)
    cleared, unclear = sum(case.cleared for case in cases), len(report.undecided)
    text = (
        f"{len(found)} regression{'s' * (len(found) != 1)} beyond {limits} in {len(cases)} "
        f"case{'s' * (len(cases) != 1)}: {cleared} shown to have none"
    )
    if unclear:
        text += f", {unclear} undecided (their intervals hold the threshold: measure longer)"
    if lost := len(report.only_old):
        text += f"; {lost} of OLD {'is' if lost == 1 else 'are'} missing in NEW"
    return f"{text}."


def _cells(case: CaseChange, usual_unit: str) -> list[str]:
    ratio = case.ratio
    if math.isfinite(ratio.high):
        interval = f"[{ratio.low:.3f}, {ratio.high:.3f}]"
    else:
        interval = f"[none: {ratio.rounds} values]"
    words: str = case.verdict
    if case.scaled_by:
        words += f", by {case.scaled_by}"
    if case.regression:
        words += f", REGRESSION beyond {_share(case.threshold)}"
    rates = [
        _rate(rate, case.unit, usual_unit) for rate in (case.old_per_second, case.new_per_second)
    ]
    return [case.title, *rates, f"{ratio.ratio:.3f} {interval}", words]


def _rate(per_second: float, unit: str, usual_unit: str) -> str:
    """Rate per second: a bare number in the unit of the column's head, or with its own unit."""
    number = numbers.rate(per_second) if per_second >= 10 else f"{per_second:.3g}"
    return number if unit == usual_unit else f"{number} {unit}/s"


def _share(share: float) -> str:
    return f"{100 * share:.3g}%"


def _table(rows: Sequence[Sequence[str]]) -> FittedTable:
    """A table of rows, the first of which is its header; rates are aligned to the right."""
    table = FittedTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, header in enumerate(rows[0]):
        table.add_column(Text(header), justify="right" if place in (1, 2) else "left")
    for row in rows[1:]:
        table.add_row(*map(Text, row))
    return table
