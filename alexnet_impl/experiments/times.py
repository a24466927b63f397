"""Times as ratios: within one report, and of our runs on one machine."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from alexnet_impl.experiments.claim import Claim
from alexnet_impl.experiments.claims import CLAIMS, final_claims
from alexnet_impl.experiments.evidence import Evidence, own_runs
from alexnet_impl.phases import num_epochs


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRatio:
    """How much longer one experiment took than another of its report.

    Attributes:
        first: The id.
        second: The id it is divided by.
        published: From the report's first figures.
        ours: Of runs of one budget, for the report's number of epochs; None without them.
    """

    first: str
    second: str
    published: float
    ours: float | None


def compare_times(
    evidence: Sequence[Evidence], claims: Sequence[Claim] = CLAIMS
) -> tuple[TimeRatio, ...]:
    """Every pair of one report whose total times are published."""
    totals: dict[str, Claim] = {}
    for claim in claims:
        for total in final_claims(claim.experiment, "training_time", claims)[:1]:
            totals[claim.experiment] = total
    return tuple(
        TimeRatio(
            first=first,
            second=second,
            published=totals[first].value / totals[second].value,
            ours=_ours(evidence, first, second),
        )
        for first, second in itertools.combinations(totals, 2)
        if totals[first].report == totals[second].report
    )


def _ours(evidence: Sequence[Evidence], first: str, second: str) -> float | None:
    times = [_by_budget(own_runs(evidence, name)) for name in (first, second)]
    shared = [budget for budget in times[0] if budget in times[1]]
    return times[0][shared[0]] / times[1][shared[0]] if shared else None


def _by_budget(runs: Sequence[Evidence]) -> dict[str, float]:
    times = {run.record.budget: full_time_s(run) for run in runs}
    return {budget: seconds for budget, seconds in times.items() if seconds}


def full_time_s(run: Evidence) -> float | None:
    """What the steps of all of the report's epochs would take; None if no epoch was ended.

    None too where features were kept: the report computed them in each epoch.
    """
    if run.result is None or not run.history.epochs or run.config.cache_features:
        return None
    an_epoch = run.result.timing.training_time_s / len(run.history.epochs)
    return an_epoch * num_epochs(run.experiment.recipe)
