"""Terminal lines of a parity comparison."""

import shlex
from pathlib import Path

from alexnet_impl.parity.record import CheckResult, MinimalPair, ParityRecord

CHECK_HEADER = f"{'check':<29} {'precision':<9} {'measured':>9} {'allowed':>9}  verdict"
"""Header for the lines of check_lines()."""


def check_lines(check: CheckResult) -> list[str]:
    """Lines for one check, with the causes below a failure, and notes."""
    verdict = "holds" if check.holds else f"FAILS at {check.where or 'every value'}"
    figures = f"{check.measured:>9.1e} {check.tolerance:>9.1e}"
    lines = [f"{check.name:<29} {check.precision:<9} {figures}  {verdict}"]
    lines += [f"    likely cause: {cause}" for cause in check.causes]
    return lines + [f"    note: {note}" for note in check.notes]


def failure_line(record: ParityRecord) -> str:
    """Sentence that names the first mismatch of a comparison that did not hold."""
    if not record.failures:
        return "Not all stages were run: the comparison is incomplete."
    check = record.failures[0]
    precision = f" ({check.precision})" if check.precision else ""
    where = f", {check.where}" if check.where else ""
    in_vain = check.sought and not check.causes
    unknown = "; no cause known to this release explains it" if in_vain else ""
    return f"First mismatch: {check.name}{precision}{where}{unknown}"


def minimal_pair_line(pair: MinimalPair) -> str:
    """Sentence that says what the files of a minimal pair reproduce, or why there are none."""
    if pair.reason:
        return f"No minimal pair was written: {pair.reason}."
    shapes = pair.difference == float("inf")
    what = "the different shapes" if shapes else f"{pair.reproduced:.3g} of {pair.difference:.3g}"
    return f"Minimal pair: reproduces {what} without the two models, at {pair.where}"


def minimal_pair_lines(pair: MinimalPair, folder: Path) -> list[str]:
    """Lines for a minimal pair in a folder, with the command that runs it."""
    command = [f"    cd {shlex.quote(str(folder))} && {pair.command}"] if pair.files else []
    return [minimal_pair_line(pair), *command]
