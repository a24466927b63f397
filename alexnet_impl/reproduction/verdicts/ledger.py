"""The ledger of published claims: each with a verdict, its evidence and its known causes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS
from alexnet_impl.reproduction.checks import find_all
from alexnet_impl.reproduction.checks.finding import Finding, findings_by_claim
from alexnet_impl.reproduction.checks.sizes import FLOAT32_BYTES, expected_counts
from alexnet_impl.reproduction.claims.claim import PER_CLASS, Claim, percent
from alexnet_impl.reproduction.claims.queries import CLAIMS, claims_of
from alexnet_impl.reproduction.runs.evidence import Evidence, own_runs
from alexnet_impl.reproduction.runs.reading import read_evidence
from alexnet_impl.reproduction.verdicts.curves import CurveComparison, compare_curves
from alexnet_impl.reproduction.verdicts.intervals import OurFigure
from alexnet_impl.reproduction.verdicts.known_causes import OUTCOMES, causes_of
from alexnet_impl.reproduction.verdicts.our_figures import (
    is_measurable,
    is_one_epoch_alone,
    measure,
    our_values,
)

Verdict = Literal["reproduced", "not reproduced", "not comparable", "inconsistent", "not run"]

TIMES = (
    *("training_time", "epoch_time", "step_time"),
    *("evaluation_time", "evaluation_step_time"),
)
SETTINGS = (
    *("machine_memory", "steps_taken", "sample_prediction", "sample_confidence"),
    *("input_scaling", "listing", "conclusion", "precision_difference"),
)
"""Quantities that describe the report's own run, which no run of ours can reproduce."""

NO_INTERVAL = "a single epoch of a single seed has no interval"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JudgedClaim:
    """A claim with its verdict.

    Attributes:
        reason: Why, with the numbers.
        measured: Our figure, if a run is comparable.
        explains: Causes of the published figure, each with the page that tells more.
        runs: The run folders that the verdict rests on.
    """

    claim: Claim
    verdict: Verdict
    reason: str
    measured: OurFigure | None = None
    explains: tuple[str, ...] = ()
    runs: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClaimLedger:
    """All claims with their verdicts, and what they rest on.

    Attributes:
        entries: One entry for each claim, in the order of the reports.
        findings: Contradictions within the reports, and their explanations.
        problems: For each run folder that was left out, the reason.
    """

    entries: tuple[JudgedClaim, ...]
    findings: tuple[Finding, ...]
    evidence: tuple[Evidence, ...]
    curves: tuple[CurveComparison, ...]
    problems: tuple[str, ...]

    def count(self, verdict: Verdict) -> int:
        """Number of claims with this verdict."""
        return sum(entry.verdict == verdict for entry in self.entries)


def make_ledger(root: Path | None, claims: Sequence[Claim] = CLAIMS) -> ClaimLedger:
    """Judges every claim by the runs below a directory; None: without any run."""
    evidence, problems = ((), ()) if root is None else read_evidence(root)
    findings = find_all(claims)
    by_claim = findings_by_claim(findings)
    return ClaimLedger(
        entries=tuple(
            judge(claim, evidence, by_claim.get(claim.id, ()), claims) for claim in claims
        ),
        findings=findings,
        evidence=evidence,
        curves=compare_curves(evidence, claims),
        problems=problems,
    )


def judge(
    claim: Claim,
    evidence: Sequence[Evidence],
    findings: Sequence[Finding],
    claims: Sequence[Claim] = CLAIMS,
) -> JudgedClaim:
    """Returns one claim with its verdict.

    Args:
        claim: The claim.
        evidence: Runs of any experiment.
        findings: Findings about this claim alone.
        claims: All claims, for other figures of the same class.
    """
    runs = own_runs(evidence, claim.experiment)
    comparable = _one_a_seed([run for run in runs if is_measurable(claim, run)])
    measured = measure(claim, comparable, claims)
    verdict, reason = _verdict(claim, runs, measured, findings)
    return JudgedClaim(
        claim=claim,
        verdict=verdict,
        reason=reason,
        measured=measured,
        explains=tuple(dict.fromkeys(_explanations(claim, runs, findings))),
        runs=tuple(run.path for run in comparable or runs),
    )


def _one_a_seed(runs: Sequence[Evidence]) -> tuple[Evidence, ...]:
    """The first run of each seed: a shorter run of the same seed is no second measurement."""
    by_seed: dict[int, Evidence] = {}
    for run in runs:
        by_seed.setdefault(run.record.seed, run)
    return tuple(by_seed.values())


def _verdict(
    claim: Claim,
    runs: Sequence[Evidence],
    measured: OurFigure | None,
    findings: Sequence[Finding],
) -> tuple[Verdict, str]:
    denied = [f for f in findings if f.kind == "inconsistent"]
    if denied:
        reasons = [*(f.reason for f in denied), *_ours(claim, runs, measured)]
        return "inconsistent", "; ".join(reasons)
    if claim.quantity in ("num_params", "model_size"):
        return _counted(claim)
    if claim.quantity == "time_ratio":
        reason = "measured on the report's own machines; our ratios are in the table of ratios"
        return "not comparable", reason
    if claim.quantity in TIMES:
        return "not comparable", "measured on other hardware; only ratios of times are comparable"
    if claim.quantity in SETTINGS:
        return "not comparable", _their_run(findings)
    if unmatched := _unmatched(claim):
        return "not comparable", unmatched
    if measured is not None:
        return _against_ours(claim, measured)
    return _without_measure(claim, runs)


def _unmatched(claim: Claim) -> str:
    """Why no run of ours has such a figure; empty if one can have it."""
    if claim.from_bar and claim.quantity != "loss":
        return "Keras progress-bar average; our runs record it for the loss only"
    if claim.quantity == "train_top1_accuracy" and claim.epoch is None:
        return (
            "the report does not say how it was measured; ours is the mean over an epoch's steps, "
            "with Dropout"
        )
    if claim.of and claim.quantity not in PER_CLASS:
        return f"the report gives no further details on {claim.of}"
    return ""


def _ours(claim: Claim, runs: Sequence[Evidence], measured: OurFigure | None) -> Iterator[str]:
    """Yields our figure for a claim that is judged without it."""
    if measured is not None:
        yield f"ours: {_measured_text(claim, measured)}"
    elif values := our_values(claim, runs[:1]):
        yield f"{'; '.join(runs[0].shortfalls) or 'ours'}: {values[0]:.4f} ({runs[0].title})"


def _counted(claim: Claim) -> tuple[Verdict, str]:
    """Verdict of parameter counts and sizes, which follow from the Spec without a run."""
    if claim.quantity == "model_size":
        total = claims_of(claim.experiment, "num_params")[0]
        num_bytes = FLOAT32_BYTES * total.value
        return "reproduced", f"{total.printed} parameters of 4 bytes are {num_bytes / 2**20:.2f} MB"
    counts = expected_counts(claim)
    outputs = next(k for k, count in counts.items() if count == round(claim.value))
    variant = EXPERIMENTS[claim.experiment].variant
    return "reproduced", f"counted from the architecture: {variant} with {outputs} outputs"


def _their_run(findings: Sequence[Finding]) -> str:
    found = [finding.reason for finding in findings if finding.kind == "incomparable"]
    return "; ".join(found) or "describes the report's own run or machine"


def _against_ours(claim: Claim, measured: OurFigure) -> tuple[Verdict, str]:
    text = _measured_text(claim, measured)
    if measured.holds(claim.low, claim.high):
        return "reproduced", f"ours: {text}"
    low, high = claim.ends
    difference = measured.value - min(max(measured.value, low), high)  # to a range's nearer end
    sign = f"{100 * difference:+.2f} points" if _is_share(claim) else f"{difference:+.4f}"
    return "not reproduced", f"ours: {text}, which is {sign}"


def _measured_text(claim: Claim, measured: OurFigure) -> str:
    form = percent if _is_share(claim) else "{:.4f}".format
    value, low, high = (form(n) for n in (measured.value, measured.low, measured.high))
    return f"{value} [{low}, {high}] ({measured.basis})"


def _is_share(claim: Claim) -> bool:
    return "loss" not in claim.quantity


def _without_measure(claim: Claim, runs: Sequence[Evidence]) -> tuple[Verdict, str]:
    if not runs:
        return "not run", f"alexnet reproduce {claim.experiment}"
    run = runs[0]
    known = [
        *run.shortfalls,
        *([NO_INTERVAL] if is_one_epoch_alone(claim, [run]) else []),
        *(f"there it is {value:.4f}" for value in our_values(claim, runs[:1])),
    ]
    return "not comparable", f"{'; '.join(known) or 'has no such figure'} ({run.title})"


def _explanations(
    claim: Claim, runs: Sequence[Evidence], findings: Sequence[Finding]
) -> Iterator[str]:
    """Yields known causes of the figure: findings, measurements, mistakes, and collapses."""
    yield from (finding.reason for finding in findings if finding.kind == "explained")
    yield from causes_of(claim)
    if claim.quantity not in (*OUTCOMES, "conclusion"):
        return
    if EXPERIMENTS[claim.experiment].mistake:
        yield EXPERIMENTS[claim.experiment].mistake
    for run in runs:
        if run.collapse is not None:
            name, share = run.collapse.worst
            yield (
                f"our network collapsed by step {run.collapse.step} "
                f"({percent(share, 0)} of {name} dead; {run.title}; docs/collapse.md)"
            )
