"""Checks of repeated figures and of times: one run has one value, and epochs add up to a total."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence

from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS
from alexnet_impl.reproduction.checks.finding import Finding
from alexnet_impl.reproduction.claims.claim import Claim
from alexnet_impl.reproduction.claims.queries import claims_of, distinct_texts, final_claims


def two_values(claims: Sequence[Claim]) -> Iterator[Finding]:
    """Checks that one run has one value: rounding intervals must overlap, and words be the same."""
    for group in _by_subject(claims).values():
        exact = [c for c in group if c.quantity != "conclusion" and not c.from_bar]
        if any(_apart(a, b) for a, b in itertools.combinations(exact, 2)):
            first = exact[0]
            yield Finding(
                check="two_values",
                claims=tuple(exact),
                reason=f"{first.what} of one run is given as {distinct_texts(exact)} "
                f"(lines {', '.join(str(claim.line) for claim in exact)})",
            )


def progress_bars(claims: Sequence[Claim]) -> Iterator[Finding]:
    """Explains figures of Keras 3's progress bar, which averages its running means again.

    Early batches weigh more: a falling loss is printed too high, and an accuracy over batches
    differs at random. History and the values that evaluate() returns are correct.

    References:
        keras-team/keras, issues 20212 and 21301.
    """
    for group in _by_subject(claims).values():
        bars = [claim for claim in group if claim.from_bar]
        exact = [claim for claim in group if not claim.from_bar]
        apart = [(bar, claim) for bar in bars for claim in exact if _apart(bar, claim)]
        if apart:
            bar, _ = apart[0]
            yield Finding(
                check="progress_bars",
                kind="explained",
                claims=(bar,),
                against=tuple(claim for _, claim in apart),
                reason=f"{bar.what}: the progress bar shows {bar.text}, the result is "
                f"{distinct_texts([claim for _, claim in apart])}: Keras 3's bar prints the mean "
                "of the running means",
            )


def total_times(claims: Sequence[Claim]) -> Iterator[Finding]:
    """Checks that the epoch times of a whole run add up to its total."""
    for experiment in dict.fromkeys(claim.experiment for claim in claims):
        epochs = claims_of(experiment, "epoch_time", claims)
        totals = final_claims(experiment, "training_time", claims)
        if not epochs or not totals or (span := _summed(experiment, epochs)) is None:
            continue
        low, high, words = span
        for total in totals:
            if total.high < low or total.low > high:
                yield Finding(
                    check="total_times",
                    claims=(total,),
                    against=tuple(epochs),
                    reason=f"{words} are {(low + high) / 2:,.0f} s "
                    f"({(low + high) / 120:.0f} min), the total is given as {total.text}",
                )


def _summed(experiment: str, epochs: Sequence[Claim]) -> tuple[float, float, str] | None:
    """Smallest and largest sum in seconds, and what was summed; None if an epoch is missing."""
    known = EXPERIMENTS.get(experiment)
    numbered = [claim for claim in epochs if claim.epoch is not None]
    if numbered:
        if known is not None and len(numbered) < known.recipe.epochs:
            return None
        low, high = (sum(c.low for c in numbered), sum(c.high for c in numbered))
        return low, high, f"the {len(numbered)} epochs that are printed"
    if known is None:
        return None
    count, each = known.recipe.epochs, epochs[0]
    return count * each.low, count * each.high, f"{count} epochs of {each.text}"


def _by_subject(claims: Sequence[Claim]) -> dict[tuple[str, str, str, int | None], list[Claim]]:
    groups = defaultdict(list)
    for claim in claims:
        groups[claim.subject].append(claim)
    return groups


def _apart(first: Claim, second: Claim) -> bool:
    """Whether no single value can be printed as both."""
    if not (first.has_figure and second.has_figure):
        return first.says != second.says
    slack = 1e-9 * max(abs(first.high), abs(second.high))
    return first.high + slack < second.low or second.high + slack < first.low
