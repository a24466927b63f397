"""Terminal lines of a parity comparison."""

from alexnet_impl.parity.record import CheckResult, ParityRecord

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
