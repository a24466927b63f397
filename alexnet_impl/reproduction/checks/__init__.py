"""Consistency checks of the published figures, against each other and against arithmetic."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from alexnet_impl.reproduction.checks import (
    class_tables,
    comparability,
    figures,
    learning,
    single_claims,
    sizes,
)
from alexnet_impl.reproduction.checks.finding import Finding
from alexnet_impl.reproduction.claims.claim import Claim
from alexnet_impl.reproduction.claims.queries import CLAIMS

Check = Callable[[Sequence[Claim]], Iterator[Finding]]


CHECKS: dict[str, Check] = {
    "two_values": figures.two_values,
    "progress_bars": figures.progress_bars,
    "total_times": figures.total_times,
    "time_ratios": partial(single_claims.single_claims, "time_ratios"),
    "stopped_runs": learning.stopped_runs,
    "never_learned": learning.never_learned,
    "sample_images": learning.sample_images,
    "sample_confidences": learning.sample_confidences,
    "losses_against_accuracies": learning.losses_against_accuracies,
    "test_above_validation": learning.test_above_validation,
    "measured_images": learning.measured_images,
    "sample_sizes": class_tables.sample_sizes,
    "harmonic_means": class_tables.harmonic_means,
    "precision_differences": partial(single_claims.single_claims, "precision_differences"),
    "averages": class_tables.averages,
    "predicted_counts": class_tables.predicted_counts,
    "parameter_totals": sizes.parameter_totals,
    "model_sizes": partial(single_claims.single_claims, "model_sizes"),
    "resized_datasets": partial(single_claims.single_claims, "resized_datasets"),
    "comparisons": comparability.comparisons,
}
"""All checks by name, in the order of their findings."""


def find_all(claims: Sequence[Claim] = CLAIMS) -> tuple[Finding, ...]:
    """Findings of all checks, report by report."""
    found = [finding for check in CHECKS.values() for finding in check(claims)]
    return tuple(sorted(found, key=lambda finding: finding.report))
