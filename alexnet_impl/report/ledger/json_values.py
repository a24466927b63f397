"""The ledger as values that JSON can hold: claims with their verdicts, findings and pairs."""

from dataclasses import asdict
from typing import Any

from alexnet_impl.report.ledger.view import pair_tables
from alexnet_impl.reproduction.verdicts.ledger import ClaimLedger, JudgedClaim


def ledger_json(ledger: ClaimLedger) -> dict[str, Any]:
    """The whole ledger as values that JSON can hold."""
    (_, frameworks), (_, pretrained) = pair_tables(ledger)
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
        "frameworks": [asdict(row) for row in frameworks],
        "pretrained": [asdict(row) for row in pretrained],
        "runs": [str(run.path) for run in ledger.evidence],
        "problems": list(ledger.problems),
    }


def _entry_json(entry: JudgedClaim) -> dict[str, Any]:
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
