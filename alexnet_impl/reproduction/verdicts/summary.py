"""One row an experiment: accuracy, time, first and last loss, the report's beside ours."""

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

LossEnds = tuple[tuple[int, str], ...]
"""First and last loss of a training, as (epoch, text); one entry if there is one epoch."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExperimentRow:
    """One experiment: the report's figures beside those of our run.

    Attributes:
        pretrained: Whether it starts from published weights.
        accuracy: The published accuracy; empty if there is none.
        time: The published training time; empty if there is none.
        losses: Losses of the first and the last published epoch.
        run: Our most conclusive run; None without one.
        our_losses: Its first and last loss, averaged as the report averages.
    """

    id: str
    pretrained: bool
    accuracy: str
    time: str
    losses: LossEnds
    run: Evidence | None
    our_losses: LossEnds


def comparison_rows(
    evidence: Sequence[Evidence], claims: Sequence[Claim] = CLAIMS
) -> tuple[ExperimentRow, ...]:
    """Rows of all experiments, report by report, those trained from scratch first."""
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
    """First and last loss of a run, as means or as Keras 3's progress bar prints them."""
    count = len(run.history.epochs)
    ends = dict.fromkeys((1, count)) if count else ()
    return tuple((number, f"{run.epoch_loss(number, from_bar=from_bar):.4f}") for number in ends)
