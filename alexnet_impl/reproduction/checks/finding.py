"""What a check of a report against itself has found."""

from dataclasses import dataclass
from typing import Literal

from alexnet_impl.reproduction.claims.claim import Claim

Kind = Literal["inconsistent", "incomparable", "explained"]
"""inconsistent: the claims cannot all be true. incomparable: what is compared differs in more than
what the report says. explained: the figures differ or surprise, and there is a reason."""

NUM_CLASSES = 10
NUM_TRAIN, NUM_TEST = 50_000, 10_000
"""Of CIFAR-10."""
PER_CLASS_TEST = NUM_TEST // NUM_CLASSES


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that does not add up, or why it does.

    Attributes:
        check: The name of the function that found it.
        kind: How bad it is.
        claims: Those it is about.
        against: Those that it rests on and leaves alone.
        reason: With the numbers.
    """

    check: str
    kind: Kind
    claims: tuple[Claim, ...]
    against: tuple[Claim, ...] = ()
    reason: str

    @property
    def report(self) -> str:
        """R0 to R4."""
        return self.claims[0].report
