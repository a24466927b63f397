"""Loss curves by epoch, the report's beside ours: differences, and by how much ours lags."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from alexnet_impl.reproduction.claims.claim import Claim
from alexnet_impl.reproduction.claims.queries import CLAIMS, curve_claims
from alexnet_impl.reproduction.runs.evidence import Evidence, own_runs

SHIFTS = np.arange(-3, 3.01, 0.05)
"""Shifts in epochs that are tried when one curve is moved onto the other."""
FEWEST_FOR_SHIFT = 3
FEWEST_PUBLISHED = 2
"""Number of losses that make a curve."""
FLAT_STEP = 0.01
"""A curve whose loss typically changes by less than this share of itself an epoch is flat: its
shift cannot be told from chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveComparison:
    """One run's losses beside the report's, over the epochs that both have.

    Attributes:
        title: Budget, framework and seed of the run.
        comparable: Whether it trained on all images and started from the published weights.
        epochs: Epochs of the published losses.
        published: All of the report's losses, one for each of these epochs.
        ours: Our losses of the epochs that the run has, averaged as the report averages.
        shift: Number of epochs by which our curve, moved earlier, comes nearest: above 0, ours
            lags. None if too few epochs are shared or the published curve is flat.
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
        """Our loss minus theirs, epoch by epoch."""
        return tuple(b - a for a, b in zip(self.published, self.ours, strict=False))

    @property
    def largest(self) -> tuple[int, float]:
        """The epoch with the largest difference, and that difference."""
        place = max(range(len(self.differences)), key=lambda n: abs(self.differences[n]))
        return self.epochs[place], self.differences[place]

    @property
    def mean(self) -> float:
        """Mean absolute difference."""
        return float(np.mean(np.abs(self.differences)))


def compare_curves(
    evidence: Sequence[Evidence], claims: Sequence[Claim] = CLAIMS
) -> tuple[CurveComparison, ...]:
    """Compares every run of an experiment whose losses were published by epoch."""
    experiments = dict.fromkeys(run.record.experiment for run in evidence)
    return tuple(
        comparison
        for experiment in experiments
        if len(published := curve_claims(experiment, "loss", claims)) >= FEWEST_PUBLISHED
        for run in own_runs(evidence, experiment)
        for comparison in _compared(run, published)
    )


def _compared(run: Evidence, published: Sequence[Claim]) -> Iterator[CurveComparison]:
    """Yields the comparison; nothing if no published epoch is among the run's."""
    theirs = tuple(claim.value for claim in published)
    ours = tuple(
        run.epoch_loss(claim.epoch or 1, from_bar=claim.from_bar, steps=claim.steps)
        for claim in published
        if (claim.epoch or 0) <= len(run.history.epochs)
    )
    if ours:
        yield CurveComparison(
            experiment=run.record.experiment,
            title=run.title,
            comparable=run.has_all_images and run.has_published_weights,
            epochs=tuple(claim.epoch or 0 for claim in published),
            published=theirs,
            ours=ours,
            shift=best_shift(theirs, ours),
        )


def best_shift(published: Sequence[float], ours: Sequence[float]) -> float | None:
    """The one of SHIFTS with the smallest mean difference; None if too short or flat."""
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
