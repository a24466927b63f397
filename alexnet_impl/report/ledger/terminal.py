"""The ledger in a terminal and as JSON."""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from alexnet_impl.files import write_bytes
from alexnet_impl.report.ledger.pairs import (
    HEADER,
    NOTE,
    NOTE_HEADER,
    pair_cells,
    pair_losses,
    pair_note,
    pair_tables,
    pairs_json,
)
from alexnet_impl.report.ledger.stacked import lines, stacked
from alexnet_impl.reproduction.checks.finding import Finding
from alexnet_impl.reproduction.claims.claim import PER_CLASS
from alexnet_impl.reproduction.verdicts.framework_pairs import PairRow
from alexnet_impl.reproduction.verdicts.ledger import Entry, Ledger, Verdict

STYLES: dict[Verdict, str] = {
    "reproduced": "green",
    "not reproduced": "red",
    "not comparable": "",
    "inconsistent": "yellow",
    "not run": "dim",
}
VERDICTS = tuple(STYLES)
_CLAIMS = ("experiment", "claim", "published", "verdict", "because")


def headline(ledger: Ledger) -> str:
    """How many claims there are, and how many have each verdict."""
    counts = (f"{ledger.count(v)} {v}" for v in VERDICTS if ledger.count(v))
    return f"{len(ledger.entries)} claims: {', '.join(counts)}."


def run_lines(ledger: Ledger) -> list[str]:
    """What the runs were trained on, and where they depart from the reports."""
    images = {f"{run.dataset.name} ({run.dataset.fingerprint[:12]})" for run in ledger.evidence}
    mismatches = {
        f"{run.record.experiment} departs from the report: {mismatch}."
        for run in ledger.evidence
        for mismatch in run.record.mismatches
    }
    return [f"Runs on {name}." for name in sorted(images)] + sorted(mismatches)


def ledger_renderables(ledger: Ledger, width: int) -> Iterator[RenderableType]:
    """Tables by report, then pairs and findings, then what could not be read.

    Args:
        ledger: All of it.
        width: Columns of the terminal.
    """
    for report, entries in groupby(ledger.entries, key=lambda entry: entry.claim.report):
        rows = [_row(group) for group in grouped(list(entries))]
        yield stacked(report, _CLAIMS, rows, width, unbroken={"experiment", "verdict"})
    for title, pairs in pair_tables(ledger):
        cells = [_pair(row) for row in pairs]
        yield lines(title, (*HEADER, NOTE_HEADER), cells, width, unbroken=set())
    yield Text(NOTE)
    yield stacked(
        "What the reports say against themselves",
        ("report", "kind", "experiment", "finding"),
        [(f.report, f.kind, f.claims[0].experiment, f.reason) for f in ledger.findings],
        width,
        unbroken={"report", "kind", "experiment"},
    )
    for trouble in ledger.troubles:
        yield Text(f"left out: {trouble}", style="bold red")
    for line in run_lines(ledger):
        yield Text(line)
    yield Text(headline(ledger), style="bold")


def _pair(row: PairRow) -> tuple[str, ...]:
    """Its losses stand before what differs, where there is room for them."""
    losses = f"losses {pair_losses(row)}; " if any(row.losses) else ""
    return *pair_cells(row), f"{losses}{pair_note(row)}"


def grouped(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Curves, tables and repetitions of one figure together: a row of the terminal each."""
    groups: dict[tuple[object, ...], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(_group(entry), []).append(entry)
    return list(groups.values())


def _group(entry: Entry) -> tuple[object, ...]:
    claim = entry.claim
    if claim.epoch is not None:
        return claim.experiment, claim.quantity, "by epoch"
    if claim.quantity in PER_CLASS or (claim.quantity == "num_params" and claim.of):
        return claim.experiment, claim.quantity, "by name"
    return claim.experiment, claim.what, claim.reading, entry.verdict


def _row(group: Sequence[Entry]) -> tuple[str | Text, ...]:
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


def markdown_findings(findings: Sequence[Finding]) -> str:
    """The table of docs/reports.md."""
    lines = ["| experiment | kind | finding |", "|---|---|---|"]
    for finding in findings:
        reason = finding.reason.replace("|", "\\|")
        lines.append(f"| {finding.claims[0].experiment} | {finding.kind} | {reason} |")
    return "\n".join(lines)


def ledger_json(ledger: Ledger) -> dict[str, Any]:
    """Everything, as JSON can say it."""
    return {
        "entries": [_entry_json(entry) for entry in ledger.entries],
        "findings": [
            {
                "check": finding.check,
                "kind": finding.kind,
                "claims": [claim.id for claim in finding.claims],
                "against": [claim.id for claim in finding.against],
                "reason": finding.reason,
            }
            for finding in ledger.findings
        ],
        **pairs_json(ledger),
        "runs": [str(run.path) for run in ledger.evidence],
        "troubles": list(ledger.troubles),
    }


def _entry_json(entry: Entry) -> dict[str, Any]:
    claim, measured = entry.claim, entry.measured
    return {
        "claim": claim.id,
        "report": claim.report,
        "line": claim.line,
        "quote": claim.quote,
        "published": claim.text,
        "verdict": entry.verdict,
        "reason": entry.reason,
        "explains": list(entry.explains),
        "ours": None if measured is None else [measured.value, measured.low, measured.high],
        "runs": [str(path) for path in entry.runs],
    }


def write_ledger_json(path: Path, ledger: Ledger) -> None:
    """Write the file whole."""
    write_bytes(path, json.dumps(ledger_json(ledger), indent=1).encode())
