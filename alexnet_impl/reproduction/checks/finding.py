"""Findings of the consistency checks, and CIFAR-10's numbers of images, which checks use."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from alexnet_impl.reproduction.claims.claim import Claim

Kind = Literal["inconsistent", "incomparable", "explained"]
"""inconsistent: the claims cannot all be true. incomparable: the experiments compared differ in
more than the report says. explained: the figures differ or surprise for a known reason."""

NUM_CLASSES = 10
NUM_TRAIN, NUM_TEST = 50_000, 10_000
"""Numbers of CIFAR-10's images."""
PER_CLASS_TEST = NUM_TEST // NUM_CLASSES


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One contradiction within a report, or the explanation of one.

    Attributes:
        against: Claims used as evidence, on which it passes no judgement.
        reason: The reason, with the numbers.
    """

    check: str
    kind: Kind = "inconsistent"
    claims: tuple[Claim, ...]
    against: tuple[Claim, ...] = ()
    reason: str

    @property
    def report(self) -> str:
        """The report's name, R0 to R4."""
        return self.claims[0].report


def findings_by_claim(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """Findings about each claim, by the claim's id; claims without findings are left out."""
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        for claim in finding.claims:
            found.setdefault(claim.id, []).append(finding)
    return found
