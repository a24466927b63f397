"""The ledger in a terminal and as JSON, and the list of what can be run."""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from alexnet_impl.files import write_bytes
from alexnet_impl.network.spec import backbone_of, trace
from alexnet_impl.network.variants import build_spec
from alexnet_impl.recipe.phases import num_epochs
from alexnet_impl.report import formatting as numbers
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
from alexnet_impl.reproduction.catalogue.budget import BUDGETS, training_flops
from alexnet_impl.reproduction.catalogue.experiment import Experiment
from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS
from alexnet_impl.reproduction.checks.finding import NUM_TRAIN, Finding
from alexnet_impl.reproduction.claims.claim import PER_CLASS
from alexnet_impl.reproduction.claims.queries import distinct_texts, final_claims
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


def experiments_table(width: int) -> RenderableType:
    """What `alexnet reproduce` can run, for so many columns."""
    header = ("id", "framework", "variant", "TFLOP", "published", "what it is")
    rows = [
        (
            experiment.id,
            experiment.framework,
            experiment.variant,
            _tflop_text(experiment),
            distinct_texts(final_claims(experiment.id, "test_top1_accuracy")) or numbers.MISSING,
            experiment.about,
        )
        for experiment in EXPERIMENTS.values()
    ]
    lines = [f"{budget.name}: {budget.about}" for budget in BUDGETS.values()]
    table = stacked("", header, rows, width, unbroken=set(header[:4]))
    return Group(table, *(Text(line) for line in lines))


def _tflop_text(experiment: Experiment) -> str:
    """A dash where a backbone's inside would not be counted."""
    if backbone_of(build_spec(experiment.variant)) is not None:
        return numbers.MISSING
    return f"{full_flops(experiment) / 1e12:,.0f}"


def assumption_lines(experiment: Experiment) -> Iterator[str]:
    """What a run of this experiment does, and what it rests on beside the report's words."""
    yield f"images: {experiment.data}"
    yield f"training: {_recipe_text(experiment)}"
    if experiment.mistake:
        yield f"mistake: {experiment.mistake}"
    if experiment.corrects:
        yield f"corrects {experiment.corrects}"
    if experiment.weights is not None:
        kept = ", and keeps what they make of each image" if experiment.cache_features else ""
        yield f"begins with {experiment.weights}{kept}"
    for assumption in experiment.assumptions:
        yield f"assumed: {assumption}"


def _recipe_text(experiment: Experiment) -> str:
    """The numbers of its recipe that reports speak of."""
    recipe = experiment.recipe
    spec = build_spec(experiment.variant, input_size=recipe.input_size)
    phases = f", in phases {' then '.join(recipe.phases)}" if recipe.phases else ""
    return (
        f"{recipe.optimizer} at {recipe.learning_rate:g}, batches of {recipe.global_batch_size}, "
        f"{num_epochs(recipe)} epochs{phases}; input of {spec.input_shape[1]} pixels, "
        f"{recipe.input_scaling}"
    )


def full_flops(experiment: Experiment) -> float:
    """Of the whole training, by the Spec's MACs."""
    recipe = experiment.recipe
    macs = trace(build_spec(experiment.variant, input_size=recipe.input_size)).num_macs
    images = round(NUM_TRAIN * (1 - recipe.validation_fraction))
    return training_flops(macs, images, num_epochs(recipe))


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
