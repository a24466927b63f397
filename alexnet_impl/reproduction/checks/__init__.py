"""Consistency checks of the published figures, against each other and against arithmetic."""

from collections.abc import Callable, Iterator, Sequence

from alexnet_impl.reproduction.checks import (
    class_tables,
    comparability,
    figures,
    learning,
    sizes,
)
from alexnet_impl.reproduction.checks.finding import Finding
from alexnet_impl.reproduction.claims.claim import Claim
from alexnet_impl.reproduction.claims.queries import CLAIMS

CHECKS: tuple[Callable[[Sequence[Claim]], Iterator[Finding]], ...] = (
    figures.two_values,
    figures.progress_bars,
    figures.total_times,
    figures.time_ratios,
    learning.stopped_runs,
    learning.never_learned,
    learning.sample_images,
    learning.sample_confidences,
    learning.losses_against_accuracies,
    learning.test_above_validation,
    learning.measured_images,
    class_tables.sample_sizes,
    class_tables.harmonic_means,
    class_tables.precision_differences,
    class_tables.averages,
    class_tables.predicted_counts,
    sizes.parameter_totals,
    sizes.model_sizes,
    sizes.resized_datasets,
    comparability.comparisons,
)


def find_all(claims: Sequence[Claim] = CLAIMS) -> tuple[Finding, ...]:
    """Findings of all checks, report by report."""
    found = [finding for check in CHECKS for finding in check(claims)]
    return tuple(sorted(found, key=lambda finding: finding.report))
