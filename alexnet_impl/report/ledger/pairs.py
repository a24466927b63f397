"""How two trainings side by side read, in a terminal and on the page."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from alexnet_impl.report import formatting as numbers
from alexnet_impl.reproduction.verdicts.framework_pairs import (
    Difference,
    PairRow,
    framework_rows,
    pretrained_rows,
)
from alexnet_impl.reproduction.verdicts.ledger import Ledger
from alexnet_impl.reproduction.verdicts.summary import LossEnds

FRAMEWORKS_TITLE = "PyTorch against TensorFlow"
PRETRAINED_TITLE = "Scratch against pretrained"
HEADER = ("experiments", "figures", "accuracy", "difference, points", "time ratio")
LOSSES_HEADER = "first and last loss (epoch)"
NOTE_HEADER = "what differs"
NOTE = (
    "The first of two minus or over the second. Intervals are 95 %: of one seed both binomials, "
    "of several Student's t of the differences within a seed. Our losses are means over an "
    "epoch; published ones of Keras are its progress bar's. Our times are for the report's number "
    "of epochs, and only of runs on one machine, device and number of threads."
)


def pair_tables(ledger: Ledger) -> list[tuple[str, tuple[PairRow, ...]]]:
    """The two tables with their titles."""
    return [
        (FRAMEWORKS_TITLE, framework_rows(ledger.evidence, ledger.findings)),
        (PRETRAINED_TITLE, pretrained_rows(ledger.evidence, ledger.findings)),
    ]


def pair_cells(row: PairRow) -> tuple[str, ...]:
    """A row under HEADER, without its losses and its note."""
    return (
        f"{row.first} / {row.second}",
        row.source,
        _both(row.accuracies),
        " or ".join(map(_difference_text, row.differences)) or numbers.MISSING,
        _ratio_text(row),
    )


def pair_losses(row: PairRow) -> str:
    """First and last loss of both."""
    return _both([losses_text(ends) for ends in row.losses])


def pair_note(row: PairRow) -> str:
    """What differs between the two, and which of their times are doubtful."""
    doubts = () if isinstance(row.time_ratio, float | None) else row.time_ratio.doubts
    return "; ".join((*row.differs, *(f"of the times, {doubt}" for doubt in doubts)))


def pairs_json(ledger: Ledger) -> dict[str, Any]:
    """Both tables' rows."""
    frameworks, pretrained = (rows for _, rows in pair_tables(ledger))
    return {
        "frameworks": [asdict(row) for row in frameworks],
        "pretrained": [asdict(row) for row in pretrained],
    }


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
