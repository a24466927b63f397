"""Pairs of trainings: one network in two frameworks, and from scratch against pretrained."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS, PAIRS
from alexnet_impl.reproduction.checks.comparability import differences
from alexnet_impl.reproduction.checks.finding import NUM_TEST, Finding
from alexnet_impl.reproduction.claims.claim import Claim, percent
from alexnet_impl.reproduction.claims.queries import (
    CLAIMS,
    distinct_texts,
    distinct_values,
    final_claims,
)
from alexnet_impl.reproduction.runs.evidence import Evidence, own_runs, shared_runs
from alexnet_impl.reproduction.verdicts.summary import LossEnds, our_ends, published_ends
from alexnet_impl.reproduction.verdicts.time_ratios import (
    PublishedRatio,
    left_out,
    published_ratio,
    time_ratio,
)
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.stats.accuracy import Accuracy, difference_interval, wilson_accuracy
from alexnet_impl.stats.paired_effects import estimate

PUBLISHED = "published"
ONLY_FRAMEWORK = "the framework alone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Difference of two test accuracies as shares, first minus second, with its 95 % interval.

    The interval is from both binomials for one seed, and from Student's t of the differences within
    a seed for several.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow:
    """Two trainings, as published or as we ran them.

    Attributes:
        first: The first experiment's id, with the framework if both are one experiment.
        second: The experiment that it is compared with.
        source: 'published', or the budget and the seeds of our runs.
        accuracies: Accuracies of both on the test images; empty if there is none.
        differences: Differences of the accuracies; several if a report gives several; none for
            ranges.
        losses: First and last loss of both, as means over an epoch.
        time_ratio: First over second, with the reasons to doubt a published one; None if the
            times cannot be compared.
        differs: Everything that is not the same in both.
        left_out: Our runs that no time ratio is taken from, since other work used the machine.
    """

    first: str
    second: str
    source: str
    accuracies: tuple[str, str]
    differences: tuple[Difference, ...]
    losses: tuple[LossEnds, LossEnds]
    time_ratio: PublishedRatio | float | None
    differs: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def framework_rows(
    evidence: Sequence[Evidence],
    findings: Sequence[Finding] = (),
    claims: Sequence[Claim] = CLAIMS,
) -> tuple[PairRow, ...]:
    """Rows of the reports' pairs, published and ours, and of experiments run in both frameworks."""
    rows: list[PairRow] = []
    for first, second in PAIRS:
        report = EXPERIMENTS[first].report
        rows += _published(first, second, findings, claims)
        rows += _own(first, second, evidence)
        for name, experiment in EXPERIMENTS.items():
            if experiment.report == report:
                rows += _in_both(name, evidence)
    return tuple(rows)


def pretrained_rows(
    evidence: Sequence[Evidence],
    findings: Sequence[Finding] = (),
    claims: Sequence[Claim] = CLAIMS,
) -> tuple[PairRow, ...]:
    """Rows of each pretrained experiment against its report's scratch one in that framework."""
    return tuple(
        row
        for name, experiment in EXPERIMENTS.items()
        if experiment.weights is not None
        for scratch in (one for pair in PAIRS for one in pair)
        if (EXPERIMENTS[scratch].report, EXPERIMENTS[scratch].framework)
        == (experiment.report, experiment.framework)
        for row in (*_published(scratch, name, findings, claims), *_own(scratch, name, evidence))
    )


def _published(
    first: str, second: str, findings: Sequence[Finding], claims: Sequence[Claim]
) -> Iterator[PairRow]:
    """Yields the published row; nothing if neither report gives a test accuracy."""
    names = (first, second)
    found = [final_claims(name, "test_top1_accuracy", claims) for name in names]
    if any(found):
        yield PairRow(
            first=first,
            second=second,
            source=PUBLISHED,
            accuracies=(distinct_texts(found[0]), distinct_texts(found[1])),
            differences=tuple(_published_differences(*found)),
            losses=(published_ends(first, claims), published_ends(second, claims)),
            time_ratio=published_ratio(first, second, findings, claims),
            differs=tuple(differences(EXPERIMENTS[first], EXPERIMENTS[second])),
        )


def _own(first: str, second: str, evidence: Sequence[Evidence]) -> Iterator[PairRow]:
    """Yields the row of our runs; nothing if no budget, dataset and seed is shared."""
    if pairs := shared_runs(own_runs(evidence, first), own_runs(evidence, second)):
        yield _ours(first, second, pairs)


def _in_both(name: str, evidence: Sequence[Evidence]) -> Iterator[PairRow]:
    """Yields the row of one experiment that ran in both frameworks."""
    runs = [run for run in evidence if run.record.experiment == name and run.config.width == 1]
    sides = [[run for run in runs if run.config.framework == side] for side in FRAMEWORKS]
    if pairs := shared_runs(*sides):
        yield _ours(f"{name} in {FRAMEWORKS[0]}", f"in {FRAMEWORKS[1]}", pairs)


def _ours(first: str, second: str, pairs: Sequence[tuple[Evidence, Evidence]]) -> PairRow:
    one, other = pairs[0]
    seeds = ", ".join(str(run.record.seed) for run, _ in pairs)
    label = one.record.label or other.record.label
    source = f"ours: {one.record.budget}, seed{'' if len(pairs) == 1 else 's'} {seeds}"
    shares = [(_accuracy(a), _accuracy(b)) for a, b in pairs]
    known = [(a, b) for a, b in shares if a is not None and b is not None]
    return PairRow(
        first=first,
        second=second,
        source=f"{source} ({label})" if label else source,
        accuracies=(_mean_text([a for a, _ in shares]), _mean_text([b for _, b in shares])),
        differences=(_our_difference(known),) if known else (),
        losses=(our_ends(one, from_bar=False), our_ends(other, from_bar=False)),
        time_ratio=next(filter(None, (time_ratio(*pair) for pair in pairs)), None),
        differs=tuple(differences(_trained(one), _trained(other))) or (ONLY_FRAMEWORK,),
        left_out=left_out(pairs),
    )


def _trained(run: Evidence) -> RunConfig:
    """The config of a run, with published weights named as published whatever file they were in."""
    if not run.has_published_weights:
        return run.config
    return replace(run.config, weights=run.experiment.weights)


def _accuracy(run: Evidence) -> Accuracy | None:
    share = None if run.result is None else run.result.test_top1_accuracy
    return None if share is None else _accuracy_of(share, run.dataset.num_test_images)


def _accuracy_of(share: float, num_images: int) -> Accuracy:
    return wilson_accuracy(round(share * num_images), num_images)


def _mean_text(accuracies: Sequence[Accuracy | None]) -> str:
    known = [accuracy.value for accuracy in accuracies if accuracy is not None]
    return percent(float(np.mean(known))) if known else ""


def _our_difference(known: Sequence[tuple[Accuracy, Accuracy]]) -> Difference:
    """Mean difference: its interval is binomial for one seed, Student's t over several seeds."""
    found = estimate([first.value - second.value for first, second in known])
    if found.low is None or found.high is None:
        return replace(_difference(*known[0]), value=found.mean)
    return Difference(value=found.mean, low=found.low, high=found.high)


def _difference(first: Accuracy, second: Accuracy) -> Difference:
    low, high = difference_interval(first, second)
    return Difference(value=first.value - second.value, low=low, high=high)


def _published_differences(first: Sequence[Claim], second: Sequence[Claim]) -> Iterator[Difference]:
    """Yields the difference of each two exact figures; ranges and 'about' figures have none."""
    exact = (
        [
            _accuracy_of(claim.value, NUM_TEST)
            for claim in distinct_values([c for c in claims if not (c.upto or c.about)])
        ]
        for claims in (first, second)
    )
    yield from itertools.starmap(_difference, itertools.product(*exact))
