"""Checks of per-class figures: their sample, and a table's rows against its averages."""

import math
import statistics
from collections.abc import Iterator, Sequence

from alexnet_impl.reproduction.checks.finding import NUM_CLASSES, NUM_TEST, PER_CLASS_TEST, Finding
from alexnet_impl.reproduction.claims.claim import AVERAGES, PER_CLASS, Claim
from alexnet_impl.reproduction.claims.queries import claims_of, final_claims


def sample_sizes(claims: Sequence[Claim]) -> Iterator[Finding]:
    """Checks that accuracies by class are whole numbers of CIFAR-10's 1,000 images a class."""
    for experiment in dict.fromkeys(claim.experiment for claim in claims):
        recalls = [c for c in claims_of(experiment, "recall", claims) if c.of not in AVERAGES]
        strange = [claim for claim in recalls if not _is_count(_bounds(claim), PER_CLASS_TEST)]
        if strange:
            samples = samples_of(recalls[0].report, claims)
            fractions = [_fraction_text(claim, samples[claim.of]) for claim in recalls]
            yield Finding(
                check="sample_sizes",
                claims=tuple(recalls),
                reason=f"{len(strange)} of {len(recalls)} accuracies are not multiples of "
                f"{100 / PER_CLASS_TEST:g} %, as {PER_CLASS_TEST:,} images a class would give. "
                "The smallest samples that give them, none much smaller than the others: "
                f"{', '.join(fractions)}",
            )


def smallest_sample(claims: Sequence[Claim], least: int = 1) -> int | None:
    """Smallest number of images, from `least`, of which every share is a whole number of images.

    None if only more images than exist would give the shares.
    """
    shares = [_bounds(claim) for claim in claims]
    sizes = range(least, PER_CLASS_TEST + 1)
    return next((n for n in sizes if all(_is_count(share, n) for share in shares)), None)


def samples_of(report: str, claims: Sequence[Claim]) -> dict[str, int | None]:
    """Number of images of each class that a report evaluated; None: more than exist.

    One sample gave the recalls of a class for all networks of the report. It is the smallest that
    gives them all, but not much smaller than that of other classes: 80.00 % may be 4 of 5, which is
    no sample if the other classes have 55 to 79. A number below half of the median only divides
    the true one.
    """
    groups: dict[str, list[Claim]] = {}
    for claim in claims:
        if claim.quantity == "recall" and claim.of not in AVERAGES and claim.report == report:
            groups.setdefault(claim.of, []).append(claim)
    sizes = [size for group in groups.values() if (size := smallest_sample(group)) is not None]
    telling = [size for size in sizes if 2 * size >= statistics.median(sizes)]
    least = min(telling, default=1)
    return {name: smallest_sample(group, least=least) for name, group in groups.items()}


def _fraction_text(claim: Claim, size: int | None) -> str:
    if size is None:
        return f"{claim.of} {claim.printed} (none)"
    return f"{claim.of} {claim.printed} = {round(claim.value * size)}/{size}"


def _bounds(claim: Claim) -> tuple[float, float, float]:
    """Smallest value, printed value and largest value of a claim."""
    return claim.low - 1e-12, claim.value, claim.high + 1e-12


def _is_count(bounds: tuple[float, float, float], size: int) -> bool:
    """Whether a whole number out of `size` images is printed as the claim with these bounds."""
    low, value, high = bounds
    return low <= round(value * size) / size <= high


def harmonic_means(claims: Sequence[Claim]) -> Iterator[Finding]:
    """Checks that F1 is the harmonic mean of precision and recall, within their rounding."""
    for precision, recall, f1 in _rows(claims):
        low, high = (
            2 * p * r / (p + r)
            for p, r in ((precision.low, recall.low), (precision.high, recall.high))
        )
        if f1.high < low or f1.low > high:
            yield Finding(
                check="harmonic_means",
                claims=(f1,),
                against=(precision, recall),
                reason=f"{f1.of}: F1 is given as {f1.text}; precision {precision.text} and recall "
                f"{recall.text} give {(low + high) / 2:.4f}",
            )


def averages(claims: Sequence[Claim]) -> Iterator[Finding]:
    """Checks averages and accuracy against the rows: every class has equally many images."""
    for experiment in dict.fromkeys(claim.experiment for claim in claims):
        for quantity in PER_CLASS:
            found = claims_of(experiment, quantity, claims)
            rows = [claim for claim in found if claim.of not in AVERAGES]
            means = [claim for claim in found if claim.of in AVERAGES]
            if quantity == "recall" and means:
                means += final_claims(experiment, "test_top1_accuracy", claims)
            yield from _against_rows(means, rows)
            yield from _against_each_other(means)


def _against_rows(means: Sequence[Claim], rows: Sequence[Claim]) -> Iterator[Finding]:
    if len(rows) != NUM_CLASSES:
        return
    low, high = (sum(end) / len(rows) for end in zip(*((r.low, r.high) for r in rows), strict=True))
    for mean in means:
        if mean.high < low or mean.low > high:
            yield Finding(
                check="averages",
                claims=(mean,),
                against=tuple(rows),
                reason=f"{mean.what} is given as {mean.text}; its rows give {(low + high) / 2:.4f}",
            )


def _against_each_other(means: Sequence[Claim]) -> Iterator[Finding]:
    """Checks that macro and weighted averages agree: every class has the same support."""
    by_name = {claim.of: claim for claim in means}
    if not set(AVERAGES) <= set(by_name):
        return
    macro, weighted = (by_name[name] for name in AVERAGES)
    if macro.high < weighted.low or weighted.high < macro.low:
        yield Finding(
            check="averages",
            claims=(macro, weighted),
            reason=f"{macro.quantity}: the macro average is {macro.text} and the weighted one "
            f"{weighted.text}; with {PER_CLASS_TEST:,} images of each class they are the same",
        )


def predicted_counts(claims: Sequence[Claim]) -> Iterator[Finding]:
    """Checks that recall over precision, summed over the classes, counts every image once."""
    for experiment in dict.fromkeys(claim.experiment for claim in claims):
        rows = [row for row in _rows(claims) if row[0].experiment == experiment]
        if len(rows) != NUM_CLASSES:
            continue
        least = sum(math.ceil(_predicted(r.low, p.high) - 1e-6) for p, r, _ in rows)
        most = sum(math.floor(_predicted(r.high, p.low) + 1e-6) for p, r, _ in rows)
        if not least <= NUM_TEST <= most:
            yield Finding(
                check="predicted_counts",
                claims=tuple(claim for row in rows for claim in row),
                reason=f"precision and recall give {least:,} to {most:,} predictions of the "
                f"{NUM_TEST:,} images",
            )


def _predicted(recall: float, precision: float) -> float:
    """Number of images predicted as a class."""
    return PER_CLASS_TEST * recall / precision


def _rows(claims: Sequence[Claim]) -> Iterator[tuple[Claim, Claim, Claim]]:
    """Yields precision, recall and F1 of each class that has all three."""
    found = {c.subject: c for c in claims if c.quantity in PER_CLASS and c.of not in AVERAGES}
    for experiment, quantity, name, epoch in found:
        if quantity != PER_CLASS[0]:
            continue
        precision, recall, f1 = (found.get((experiment, q, name, epoch)) for q in PER_CLASS)
        if precision and recall and f1:
            yield precision, recall, f1
