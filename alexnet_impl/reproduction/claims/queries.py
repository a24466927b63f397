"""All published claims (`claims.csv`), and functions that select some of them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from alexnet_impl.reproduction.claims.claim import Claim, Quantity
from alexnet_impl.reproduction.claims.table import read_claims

CLAIMS = read_claims(Path(__file__).with_name("claims.csv"))
"""Report by report, each in the order of its text."""


def claims_of(
    experiment: str, quantity: Quantity, claims: Iterable[Claim] = CLAIMS
) -> tuple[Claim, ...]:
    """All claims of an experiment with this quantity, for every class and epoch."""
    return tuple(c for c in claims if c.quantity == quantity and c.experiment == experiment)


def final_claims(
    experiment: str, quantity: Quantity, claims: Iterable[Claim] = CLAIMS
) -> tuple[Claim, ...]:
    """Claims about the run as a whole, without those of progress bars."""
    found = claims_of(experiment, quantity, claims)
    return tuple(c for c in found if c.epoch is None and not c.of and not c.from_bar)


def curve_claims(
    experiment: str, quantity: Quantity = "loss", claims: Iterable[Claim] = CLAIMS
) -> tuple[Claim, ...]:
    """The first printed claim of each epoch, in the order of the epochs."""
    by_epoch: dict[int, Claim] = {}
    for claim in claims_of(experiment, quantity, claims):
        if claim.epoch is not None:
            by_epoch.setdefault(claim.epoch, claim)
    return tuple(by_epoch[epoch] for epoch in sorted(by_epoch))


def distinct_values(claims: Sequence[Claim]) -> tuple[Claim, ...]:
    """The first claim of each distinct value, whatever its unit."""
    by_reading: dict[tuple[float, float] | str, Claim] = {}
    for claim in claims:
        by_reading.setdefault(claim.reading, claim)
    return tuple(by_reading.values())


def distinct_texts(claims: Sequence[Claim], joint: str = "or") -> str:
    """The figures as text, each value once: '71.95 % or 10.00 %'."""
    return f" {joint} ".join(dict.fromkeys(claim.text for claim in distinct_values(claims)))
