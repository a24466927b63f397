"""Parts that the ledger's terminal tables and its page share: headline, notes, rows of pairs."""

from collections.abc import Sequence

from alexnet_impl.report import formatting as numbers
from alexnet_impl.reproduction.checks.finding import Finding
from alexnet_impl.reproduction.verdicts.framework_pairs import (
    Difference,
    PairRow,
    framework_rows,
    pretrained_rows,
)
from alexnet_impl.reproduction.verdicts.ledger import ClaimLedger, Verdict
from alexnet_impl.reproduction.verdicts.summary import LossEnds

STYLES: dict[Verdict, str] = {
    "reproduced": "green",
    "not reproduced": "red",
    "not comparable": "",
    "inconsistent": "yellow",
    "not run": "dim",
}
"""Colour of each verdict in a terminal."""
VERDICTS = tuple(STYLES)
FRAMEWORKS_TITLE = "PyTorch against TensorFlow"
PRETRAINED_TITLE = "From scratch against pretrained"
HEADER = ("experiments", "figures", "accuracy", "difference, points", "time ratio")
LOSSES_HEADER = "first and last loss (epoch)"
NOTE_HEADER = "what differs"
NOTE = (
    "Differences are first minus second, ratios first over second. Intervals are 95 %: binomial "
    "for one seed, Student's t over the differences within a seed for several. Our losses are "
    "means over an epoch; published losses of Keras are its progress bar's. Our times are for the "
    "report's number of epochs, and only for runs on one machine, device and number of threads."
)


def headline(ledger: ClaimLedger) -> str:
    """Sentence with the number of claims, and of claims with each verdict."""
    counts = (f"{ledger.count(v)} {v}" for v in VERDICTS if ledger.count(v))
    return f"{len(ledger.entries)} claims: {', '.join(counts)}."


def run_lines(ledger: ClaimLedger) -> list[str]:
    """Sentences on the images of the runs, and on their mismatches with the reports."""
    images = {f"{run.dataset.name} ({run.dataset.fingerprint[:12]})" for run in ledger.evidence}
    mismatches = {
        f"{run.record.experiment} differs from the report: {mismatch}."
        for run in ledger.evidence
        for mismatch in run.record.mismatches
    }
    return [f"Runs on {name}." for name in sorted(images)] + sorted(mismatches)


def pair_tables(ledger: ClaimLedger) -> list[tuple[str, tuple[PairRow, ...]]]:
    """Titles and rows of the two tables of pairs."""
    return [
        (FRAMEWORKS_TITLE, framework_rows(ledger.evidence, ledger.findings)),
        (PRETRAINED_TITLE, pretrained_rows(ledger.evidence, ledger.findings)),
    ]


def pair_cells(row: PairRow) -> tuple[str, ...]:
    """Cells of a row under HEADER, without its losses and its note."""
    return (
        f"{row.first} / {row.second}",
        row.source,
        _both(row.accuracies),
        " or ".join(map(_difference_text, row.differences)) or numbers.MISSING,
        _ratio_text(row),
    )


def pair_losses(row: PairRow) -> str:
    """First and last loss of both trainings."""
    return _both([losses_text(ends) for ends in row.losses])


def pair_note(row: PairRow) -> str:
    """Everything that differs between the two, and which times are doubtful or left out."""
    doubts = () if isinstance(row.time_ratio, float | None) else row.time_ratio.doubts
    told = [*(f"of the times, {doubt}" for doubt in doubts), *map(left_out_text, row.left_out)]
    return "; ".join((*row.differs, *told))


def left_out_text(run: str) -> str:
    """Says that the times of a run are in no ratio."""
    return f"no ratio of the times of {run}: other work used the machine"


def losses_text(ends: LossEnds) -> str:
    """First and last loss with their epochs: '2.3007 (1) to 0.3160 (20)'."""
    return " to ".join(f"{text} ({epoch})" for epoch, text in ends) or numbers.MISSING


def _both(texts: Sequence[str]) -> str:
    if not any(text.strip(numbers.MISSING) for text in texts):
        return numbers.MISSING
    return " / ".join(text or numbers.MISSING for text in texts)


def _difference_text(difference: Difference) -> str:
    value, low, high = map(numbers.points, (difference.value, difference.low, difference.high))
    return f"{value} [{low}, {high}]"


def _ratio_text(row: PairRow) -> str:
    ratio = row.time_ratio
    if ratio is None:
        return numbers.MISSING
    if isinstance(ratio, float):
        return f"{ratio:.2f}"
    return f"{ratio.value:.2f}{' (doubtful)' if ratio.doubts else ''}"


def markdown_findings(findings: Sequence[Finding]) -> str:
    """Findings as the Markdown table of docs/reports.md."""
    lines = ["| experiment | kind | finding |", "|---|---|---|"]
    for finding in findings:
        reason = finding.reason.replace("|", "\\|")
        lines.append(f"| {finding.claims[0].experiment} | {finding.kind} | {reason} |")
    return "\n".join(lines)
