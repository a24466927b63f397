"""How far two frameworks may lie apart and still compute the same: one table, with reasons.

Differences are relative: the largest absolute one over the largest absolute value. Measured on
CPUs with torch 2.14.1, tensorflow 2.21.0 and keras 3.15.1.
"""

from dataclasses import dataclass
from typing import Literal

from alexnet_impl.recipe import Precision

Rung = Literal[
    "treatment",
    "logits",
    "first loss",
    "update",
    "weights",
    "layers",
    "loss",
    "gradients",
    "median gradient",
    "weights' change",
    "lockstep",
    "re-synchronised",
    "free step 1",
    "free step 2",
    "free step 5",
    "free step 10",
    "against control",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """A bound and why it lies where it does."""

    bound: float
    reason: str


TOLERANCES: dict[tuple[Rung, Precision], Tolerance] = {
    ("treatment", "float64"): Tolerance(
        bound=1e-12, reason="two products of at most 227 terms at 1e-16"
    ),
    ("treatment", "float32"): Tolerance(
        bound=1e-5, reason="two products of at most 227 terms; 5.4e-7 measured on real images"
    ),
    ("treatment", "bfloat16"): Tolerance(bound=1e-5, reason="images are treated in float32"),
    ("treatment", "float16"): Tolerance(bound=1e-5, reason="images are treated in float32"),
    ("logits", "float64"): Tolerance(
        bound=1e-12, reason="sums of 10^4 terms at 1e-16; 4e-15 measured over all variants"
    ),
    ("logits", "float32"): Tolerance(
        bound=1e-5, reason="order of sums alone; 1.7e-6 measured narrow, 7e-7 at full width"
    ),
    ("logits", "bfloat16"): Tolerance(
        bound=3e-2, reason="8 bits of mantissa, rounded at other places; 8.1e-3 measured"
    ),
    ("logits", "float16"): Tolerance(
        bound=5e-3, reason="11 bits of mantissa, rounded at other places; 1.5e-3 measured"
    ),
    ("first loss", "float64"): Tolerance(bound=1e-12, reason="as logits"),
    ("first loss", "float32"): Tolerance(
        bound=5e-6, reason="the loss is a mean over the batch; 5e-7 measured"
    ),
    ("first loss", "bfloat16"): Tolerance(bound=1e-2, reason="as logits; 6e-6 measured at 2.3"),
    ("first loss", "float16"): Tolerance(bound=1e-2, reason="as logits"),
    ("weights", "float32"): Tolerance(
        bound=1e-6, reason="a conversion moves numbers and computes none"
    ),
    ("layers", "float64"): Tolerance(bound=1e-12, reason="as logits"),
    ("layers", "float32"): Tolerance(bound=1e-5, reason="as logits"),
    ("layers", "bfloat16"): Tolerance(bound=3e-2, reason="as logits"),
    ("layers", "float16"): Tolerance(bound=5e-3, reason="as logits"),
    ("loss", "float64"): Tolerance(bound=1e-12, reason="as logits"),
    ("loss", "float32"): Tolerance(bound=5e-6, reason="as first loss"),
    ("loss", "bfloat16"): Tolerance(bound=2e-2, reason="as logits"),
    ("loss", "float16"): Tolerance(bound=5e-3, reason="as logits"),
    ("gradients", "float64"): Tolerance(bound=1e-10, reason="L2, x"),
    ("gradients", "float32"): Tolerance(bound=3e-2, reason="L2; x"),
    ("gradients", "bfloat16"): Tolerance(bound=3e-1, reason="L2; x"),
    ("gradients", "float16"): Tolerance(bound=1e-1, reason="L2; x"),
    ("median gradient", "float64"): Tolerance(bound=1e-12, reason="L2, x"),
    ("median gradient", "float32"): Tolerance(bound=1e-5, reason="L2; x"),
    ("median gradient", "bfloat16"): Tolerance(bound=5e-2, reason="L2; x"),
    ("median gradient", "float16"): Tolerance(bound=1e-2, reason="L2; x"),
    ("weights' change", "float64"): Tolerance(bound=1e-6, reason="L2, x"),
    ("weights' change", "float32"): Tolerance(bound=3e-1, reason="L2; x"),
    ("weights' change", "bfloat16"): Tolerance(bound=2, reason="L2; x"),
    ("weights' change", "float16"): Tolerance(bound=2, reason="L2; x"),
    ("lockstep", "float64"): Tolerance(bound=1e-12, reason="x"),
    ("re-synchronised", "float32"): Tolerance(bound=2e-6, reason="x"),
    ("re-synchronised", "bfloat16"): Tolerance(bound=5e-2, reason="x"),
    ("re-synchronised", "float16"): Tolerance(bound=1e-2, reason="x"),
    ("free step 1", "float32"): Tolerance(bound=2e-6, reason="x"),
    ("free step 2", "float32"): Tolerance(bound=2e-4, reason="x"),
    ("free step 5", "float32"): Tolerance(bound=2e-3, reason="x"),
    ("free step 10", "float32"): Tolerance(bound=1e-2, reason="x"),
    ("against control", "float32"): Tolerance(bound=3, reason="x"),
    ("against control", "bfloat16"): Tolerance(bound=3, reason="x"),
    ("against control", "float16"): Tolerance(bound=3, reason="x"),
    ("update", "float64"): Tolerance(
        bound=1e-12, reason="20 steps whose formulas agree; 1e-14 measured, another formula 1e-6"
    ),
    ("update", "float32"): Tolerance(
        bound=1e-3, reason="3 steps; one ReLU or pool that flips moves the loss by up to 4e-5"
    ),
}


def tolerance(rung: Rung, precision: Precision) -> float:
    """The bound of a rung in a precision."""
    return TOLERANCES[rung, precision].bound
