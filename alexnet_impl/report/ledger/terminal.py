"""The ledger as tables in a terminal."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich import box
from rich.console import RenderableType
from rich.text import Text

from alexnet_impl.report.fitted_table import FittedTable
from alexnet_impl.report.ledger.stacked import lines, stacked
from alexnet_impl.report.ledger.view import (
    HEADER,
    NOTE,
    NOTE_HEADER,
    STYLES,
    VERDICTS,
    headline,
    pair_cells,
    pair_losses,
    pair_note,
    pair_tables,
    run_lines,
)
from alexnet_impl.reproduction.checks.finding import Finding
from alexnet_impl.reproduction.claims.claim import PER_CLASS
from alexnet_impl.reproduction.verdicts.framework_pairs import PairRow
from alexnet_impl.reproduction.verdicts.ledger import ClaimLedger, JudgedClaim

_CLAIMS = ("experiment", "claim", "published", "verdict", "because")


def short_renderables(ledger: ClaimLedger, width: int) -> Iterator[RenderableType]:
    """Yields the number of claims with each verdict, by report, and the contradictions."""
    header = ("report", "claims", *VERDICTS)
    table = FittedTable(*header, title="Verdicts by report", title_justify="left", box=box.SIMPLE)
    for report, group in groupby(ledger.entries, key=lambda entry: entry.claim.report):
        verdicts = [entry.verdict for entry in group]
        counts = (verdicts.count(verdict) for verdict in VERDICTS)
        table.add_row(report, str(len(verdicts)), *(str(count or "") for count in counts))
    yield table
    yield _findings_table([f for f in ledger.findings if f.kind == "inconsistent"], width)
    yield from _last_lines(ledger)


def ledger_renderables(ledger: ClaimLedger, width: int) -> Iterator[RenderableType]:
    """Yields every claim by report, then pairs and findings, then what could not be read."""
    for report, entries in groupby(ledger.entries, key=lambda entry: entry.claim.report):
        rows = [_row(group) for group in grouped(list(entries))]
        yield stacked(report, _CLAIMS, rows, width, unbroken={"experiment", "verdict"})
    for title, pairs in pair_tables(ledger):
        cells = [_pair(row) for row in pairs]
        yield lines(title, (*HEADER, NOTE_HEADER), cells, width, unbroken=set())
    yield Text(NOTE)
    yield _findings_table(ledger.findings, width)
    yield from _last_lines(ledger)


def _findings_table(findings: Sequence[Finding], width: int) -> RenderableType:
    return stacked(
        "Contradictions within the reports",
        ("report", "kind", "experiment", "finding"),
        [(f.report, f.kind, f.claims[0].experiment, f.reason) for f in findings],
        width,
        unbroken={"report", "kind", "experiment"},
    )


def _last_lines(ledger: ClaimLedger) -> Iterator[Text]:
    for problem in ledger.problems:
        yield Text(f"left out: {problem}", style="bold red")
    for line in run_lines(ledger):
        yield Text(line)
    yield Text(headline(ledger), style="bold")


def _pair(row: PairRow) -> tuple[str, ...]:
    """Cells of a pair; its losses stand before what differs."""
    losses = f"losses {pair_losses(row)}; " if any(row.losses) else ""
    return *pair_cells(row), f"{losses}{pair_note(row)}"


def grouped(entries: Sequence[JudgedClaim]) -> list[list[JudgedClaim]]:
    """Groups curves, tables and repetitions of one figure: a row of the terminal each."""
    groups: dict[tuple[object, ...], list[JudgedClaim]] = {}
    for entry in entries:
        groups.setdefault(_group(entry), []).append(entry)
    return list(groups.values())


def _group(entry: JudgedClaim) -> tuple[object, ...]:
    claim = entry.claim
    if claim.epoch is not None:
        return claim.experiment, claim.quantity, "by epoch"
    if claim.quantity in PER_CLASS or (claim.quantity == "num_params" and claim.of):
        return claim.experiment, claim.quantity, "by name"
    return claim.experiment, claim.what, claim.reading, entry.verdict


def _row(group: Sequence[JudgedClaim]) -> tuple[str | Text, ...]:
    first, last = group[0], group[-1]
    claim = first.claim
    verdicts = [entry.verdict for entry in group]
    known = [verdict for verdict in VERDICTS if verdict in verdicts]
    style = STYLES[known[0]] if len(known) == 1 else ""
    if claim.what == last.claim.what:
        because = "; ".join(dict.fromkeys((first.reason, *first.explains)))
        return claim.experiment, claim.what, claim.text, Text(known[0], style=style), because
    counts = "\n".join(f"{verdicts.count(verdict)} {verdict}" for verdict in known)
    return (
        claim.experiment,
        f"{claim.quantity_words}, {_group(first)[-1]}",
        f"{claim.text} ... {last.claim.text}",
        Text(counts, style=style),
        first.reason,
    )
