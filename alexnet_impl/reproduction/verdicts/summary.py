"""The table that reports end in: accuracy, time, first and last loss, theirs beside ours."""

from collections.abc import Sequence
from dataclasses import dataclass

from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS
from alexnet_impl.reproduction.claims.claim import Claim
from alexnet_impl.reproduction.claims.queries import (
    CLAIMS,
    curve_claims,
    distinct_texts,
    final_claims,
)
from alexnet_impl.reproduction.runs.evidence import Evidence, own_runs
from alexnet_impl.reproduction.verdicts.curves import epoch_loss

LossEnds = tuple[tuple[int, str], ...]
"""First and last loss of a training, as (epoch, text); a single one where there is one epoch."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExperimentRow:
    """One experiment.

    Attributes:
        id: Of the catalogue.
        pretrained: Whether it begins with weights from elsewhere.
        accuracy: As published; empty where it is not.
        time: Likewise.
        losses: Of the first and the last epoch that are published.
        run: Our run with the largest budget; None without one.
        our_losses: Its first and last loss, counted as the report counts.
    """

    id: str
    pretrained: bool
    accuracy: str
    time: str
    losses: LossEnds
    run: Evidence | None
    our_losses: LossEnds

    @property
    def report(self) -> str:
        """R0 to R4."""
        return self.id.partition("-")[0]


def comparison_rows(
    evidence: Sequence[Evidence], claims: Sequence[Claim] = CLAIMS
) -> tuple[ExperimentRow, ...]:
    """Every experiment, report by report, those from scratch first."""
    return tuple(_row(name, evidence, claims) for name in EXPERIMENTS)


def _row(name: str, evidence: Sequence[Evidence], claims: Sequence[Claim]) -> ExperimentRow:
    published = curve_claims(name, "loss", claims)
    run = next(iter(own_runs(evidence, name)), None)
    from_bar = bool(published) and published[0].from_bar
    return ExperimentRow(
        id=name,
        pretrained=EXPERIMENTS[name].weights is not None,
        accuracy=distinct_texts(final_claims(name, "test_top1_accuracy", claims)),
        time=distinct_texts(final_claims(name, "training_time", claims)),
        losses=published_ends(name, claims),
        run=run,
        our_losses=() if run is None else our_ends(run, from_bar=from_bar),
    )


def published_ends(experiment: str, claims: Sequence[Claim] = CLAIMS) -> LossEnds:
    """First and last loss of the report, of epochs that ended."""
    published = [c for c in curve_claims(experiment, "loss", claims) if c.steps is None]
    ends = (*published[:1], *published[1:][-1:])
    return tuple((claim.epoch or 0, claim.text) for claim in ends)


def our_ends(run: Evidence, *, from_bar: bool) -> LossEnds:
    """First and last loss of a run, as means or as Keras 3's bar prints them."""
    count = len(run.history.epochs)
    ends = dict.fromkeys((1, count)) if count else ()
    return tuple((number, f"{epoch_loss(run, number, from_bar=from_bar):.4f}") for number in ends)
