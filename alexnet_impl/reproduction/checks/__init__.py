"""Consistency checks of the published figures, against each other and against arithmetic."""

import functools
from collections.abc import Callable, Iterator, Sequence

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


def _of_rows(name: str) -> Check:
    """The check that consists of the rows with this name."""
    return functools.partial(single_claims.single_claims, name)


CHECKS: dict[str, Check] = {
    "two_values": figures.two_values,
    "progress_bars": figures.progress_bars,
    "total_times": figures.total_times,
    "time_ratios": _of_rows("time_ratios"),
    "stopped_runs": learning.stopped_runs,
    "never_learned": learning.never_learned,
    "sample_images": learning.sample_images,
    "sample_confidences": learning.sample_confidences,
    "losses_against_accuracies": learning.losses_against_accuracies,
    "test_above_validation": learning.test_above_validation,
    "measured_images": learning.measured_images,
    "sample_sizes": class_tables.sample_sizes,
    "harmonic_means": class_tables.harmonic_means,
    "precision_differences": _of_rows("precision_differences"),
    "averages": class_tables.averages,
    "predicted_counts": class_tables.predicted_counts,
    "parameter_totals": sizes.parameter_totals,
    "model_sizes": _of_rows("model_sizes"),
    "resized_datasets": _of_rows("resized_datasets"),
    "comparisons": comparability.comparisons,
}
"""All checks by name, in the order of their findings."""


def find_all(claims: Sequence[Claim] = CLAIMS) -> tuple[Finding, ...]:
    """Findings of all checks, report by report."""
    found = [finding for check in CHECKS.values() for finding in check(claims)]
    return tuple(sorted(found, key=lambda finding: finding.report))
