"""The table that reports end in: accuracy, time, first and last loss, theirs beside ours."""

from collections.abc import Sequence
from dataclasses import dataclass

from alexnet_impl.experiments.catalogue import EXPERIMENTS
from alexnet_impl.experiments.claim import Claim
from alexnet_impl.experiments.claims import CLAIMS, curve_claims, distinct_texts, final_claims
from alexnet_impl.experiments.curves import our_loss
from alexnet_impl.experiments.evidence import Evidence, own_runs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExperimentRow:
    """One experiment.

    Attributes:
        id: Of the catalogue.
        pretrained: Whether it begins with weights from elsewhere.
        accuracy: As published; empty where it is not.
        time: Likewise.
        losses: First and last, likewise.
        run: Our run with the largest budget; None without one.
        our_losses: Its first and last loss, counted as the report counts.
    """

    id: str
    pretrained: bool
    accuracy: str
    time: str
    losses: tuple[str, ...]
    run: Evidence | None
    our_losses: tuple[float, ...]

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
    return ExperimentRow(
        id=name,
        pretrained=EXPERIMENTS[name].weights is not None,
        accuracy=distinct_texts(final_claims(name, "test_top1_accuracy", claims)),
        time=distinct_texts(final_claims(name, "training_time", claims)),
        losses=tuple(claim.text for claim in (*published[:1], *published[1:][-1:])),
        run=run,
        our_losses=() if run is None else _ends(run, published),
    )


def _ends(run: Evidence, published: Sequence[Claim]) -> tuple[float, ...]:
    """First and last loss of a run."""
    epochs = run.history.epochs
    if published and published[0].from_bar:
        reached = [claim for claim in published if (claim.epoch or 0) <= len(epochs)]
        return tuple(our_loss(run, claim) for claim in (*reached[:1], *reached[1:][-1:]))
    return tuple(record.loss for record in (*epochs[:1], *epochs[1:][-1:]))
