"""Loss by epoch, the report's against ours, as curves."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alexnet_impl.reproduction.claims.claim import Claim
from alexnet_impl.reproduction.claims.queries import CLAIMS, curve_claims
from alexnet_impl.reproduction.runs.evidence import Evidence, own_runs

SHIFTS = np.arange(-3, 3.01, 0.05)
"""Epochs by which our curve is tried to be moved."""
FEWEST_FOR_SHIFT = 3
FEWEST_PUBLISHED = 2
"""Losses that make a curve."""
FLAT_STEP = 0.01
"""Where the published loss typically moves by a smaller share of itself from one epoch to the next,
no shift can be told: chance moves it as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveComparison:
    """One run's losses beside the report's, over the epochs that both have.

    Attributes:
        experiment: The id.
        title: Which run.
        comparable: Whether it trained on all images, and began with the published weights.
        epochs: Those of the claims, from the first.
        published: All of the report's losses, one of each of these.
        ours: Of as many of these as the run has, counted as the report counts.
        shift: Our curve, so many epochs earlier, comes nearest: above 0, ours is behind. None
            where too few are shared or the published curve is flat.
    """

    experiment: str
    title: str
    comparable: bool
    epochs: tuple[int, ...]
    published: tuple[float, ...]
    ours: tuple[float, ...]
    shift: float | None

    @property
    def differences(self) -> tuple[float, ...]:
        """Ours minus theirs, epoch by epoch."""
        return tuple(b - a for a, b in zip(self.published, self.ours, strict=False))

    @property
    def largest(self) -> tuple[int, float]:
        """The epoch with the largest difference, and it."""
        place = max(range(len(self.differences)), key=lambda n: abs(self.differences[n]))
        return self.epochs[place], self.differences[place]

    @property
    def mean(self) -> float:
        """Mean of the differences, without their signs."""
        return float(np.mean(np.abs(self.differences)))


def compare_curves(
    evidence: Sequence[Evidence], claims: Sequence[Claim] = CLAIMS
) -> tuple[CurveComparison, ...]:
    """Every run of an experiment whose losses were published by epoch."""
    found = []
    for experiment in dict.fromkeys(e.record.experiment for e in evidence):
        published = curve_claims(experiment, "loss", claims)
        if len(published) < FEWEST_PUBLISHED:
            continue
        for run in own_runs(evidence, experiment):
            ours = tuple(
                our_loss(run, claim)
                for claim in published
                if (claim.epoch or 0) <= len(run.history.epochs)
            )
            if ours:
                theirs = tuple(claim.value for claim in published)
                found.append(
                    CurveComparison(
                        experiment=experiment,
                        title=run.title,
                        comparable=run.has_all_images and run.has_published_weights,
                        epochs=tuple(claim.epoch or 0 for claim in published),
                        published=theirs,
                        ours=ours,
                        shift=best_shift(theirs, ours),
                    )
                )
    return tuple(found)


def our_loss(run: Evidence, claim: Claim) -> float:
    """A run's loss in the epoch of a claim, over as many steps, counted as the report counts."""
    if claim.from_bar:
        return bar_mean(run.step_losses(claim.epoch or 1)[: claim.steps])
    return epoch_loss(run, claim.epoch or 1, from_bar=False)


def epoch_loss(run: Evidence, number: int, *, from_bar: bool) -> float:
    """A run's loss in an epoch, its mean or what Keras 3's bar would print.

    A mean over batches and one over images differ by the last partial batch alone.
    """
    if from_bar:
        return bar_mean(run.step_losses(number))
    return run.history.epochs[number - 1].loss


def bar_mean(step_losses: Sequence[float]) -> float:
    """What Keras 3's progress bar ends an epoch with: the mean of the running means.

    References:
        keras-team/keras, issues 20212 and 21301.
    """
    running = np.cumsum(step_losses) / np.arange(1, len(step_losses) + 1)
    return float(running.mean())


def best_shift(published: Sequence[float], ours: Sequence[float]) -> float | None:
    """The shift of SHIFTS with the least mean difference; None: too short, or flat."""
    if len(ours) < FEWEST_FOR_SHIFT or _is_flat(published[: len(ours)]):
        return None
    epochs, theirs = np.arange(len(ours)), np.array(published[: len(ours)])
    costs = []
    for shift in SHIFTS:
        places = epochs + shift
        inside = (places >= 0) & (places <= len(ours) - 1)
        moved = np.interp(places[inside], epochs, ours)
        enough = inside.sum() >= max(2, len(ours) // 2)
        costs.append(float(np.abs(moved - theirs[inside]).mean()) if enough else np.inf)
    return round(float(SHIFTS[int(np.argmin(costs))]), 2)


def _is_flat(losses: Sequence[float]) -> bool:
    steps = np.abs(np.diff(losses)) / np.maximum(np.abs(losses[1:]), np.finfo(float).tiny)
    return float(np.median(steps)) < FLAT_STEP
