"""How far two frameworks may lie apart and still compute the same: one table, with reasons.

Differences are relative: the largest absolute one over the largest absolute value. Measured on
CPUs with torch 2.14.1, tensorflow 2.21.0 and keras 3.15.1.
"""

from dataclasses import dataclass
from typing import Literal

from alexnet_impl.recipe.recipe import Precision

Check = Literal[
    "preprocessing",
    "logits",
    "first loss",
    "update",
    "weights",
    "layers",
    "loss",
    "gradients",
    "median gradient",
    "weights' change",
    "median change",
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


TOLERANCES: dict[tuple[Check, Precision], Tolerance] = {
    ("preprocessing", "float64"): Tolerance(
        bound=1e-12, reason="two products of at most 227 terms at 1e-16"
    ),
    ("preprocessing", "float32"): Tolerance(
        bound=1e-5, reason="two products of at most 227 terms; 5.4e-7 measured on real images"
    ),
    ("preprocessing", "bfloat16"): Tolerance(
        bound=1e-5, reason="images are preprocessed in float32"
    ),
    ("preprocessing", "float16"): Tolerance(
        bound=1e-5, reason="images are preprocessed in float32"
    ),
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
    ("layers", "float64"): Tolerance(
        bound=1e-12, reason="as logits; 5e-15 measured at full width, against NumPy as well"
    ),
    ("layers", "float32"): Tolerance(bound=1e-5, reason="as logits; 2.2e-6 measured"),
    ("layers", "bfloat16"): Tolerance(bound=3e-2, reason="as logits; 1.2e-2 measured"),
    ("layers", "float16"): Tolerance(bound=5e-3, reason="as logits; 8e-4 measured"),
    ("loss", "float64"): Tolerance(bound=1e-12, reason="as logits; 2e-16 measured"),
    ("loss", "float32"): Tolerance(bound=5e-6, reason="a mean over the batch; 1.1e-7 measured"),
    ("loss", "bfloat16"): Tolerance(bound=2e-2, reason="as logits; 2.1e-3 measured"),
    ("loss", "float16"): Tolerance(bound=5e-3, reason="as logits; 3e-6 measured"),
    ("gradients", "float64"): Tolerance(
        bound=1e-11, reason="L2 of the worst weight; 4e-15 measured, more where sums cancel"
    ),
    ("gradients", "float32"): Tolerance(
        bound=3e-2,
        reason="L2 of the worst weight: one ReLU or pool that flips on its last bit moves a "
        "layer's by 1e-2; 2e-3 measured. float64 is the strict one",
    ),
    ("median gradient", "float64"): Tolerance(bound=1e-12, reason="L2; 3e-15 measured"),
    ("median gradient", "float32"): Tolerance(
        bound=1e-5, reason="L2, which no single flip moves; 1.5e-6 measured"
    ),
    ("median gradient", "bfloat16"): Tolerance(
        bound=2.5e-1, reason="L2; 3e-2 at first, 0.11 measured once the loss is small"
    ),
    ("median gradient", "float16"): Tolerance(bound=1e-1, reason="L2; 1.6e-2 measured"),
    ("weights' change", "float64"): Tolerance(
        bound=1e-9,
        reason="L2: Adam divides by roots of nearly nothing; 2e-12 measured, another formula "
        "1e-6 and more",
    ),
    ("weights' change", "float32"): Tolerance(
        bound=1e-1,
        reason="L2: as the worst gradient, and Adam turns the last bit of a gradient of nearly 0 "
        "into a step. float64 is the strict one",
    ),
    ("median change", "bfloat16"): Tolerance(
        bound=2.5e-1, reason="L2; 0.12 measured over SGD and Adam, Nesterov on one side 0.4"
    ),
    ("median change", "float16"): Tolerance(
        bound=1.5e-1, reason="L2; 6.7e-2 measured over SGD and Adam, Nesterov on one side 0.4"
    ),
    ("lockstep", "float64"): Tolerance(
        bound=1e-12, reason="rounding at 1e-16, and no flip in 100 steps; 4e-15 measured"
    ),
    ("re-synchronised", "float32"): Tolerance(
        bound=2e-6, reason="one step's rounding: a few last bits of a loss of 2; 9e-7 measured"
    ),
    ("re-synchronised", "bfloat16"): Tolerance(
        bound=5e-2, reason="one step's rounding at 8 bits; 1.4e-2 measured"
    ),
    ("re-synchronised", "float16"): Tolerance(
        bound=1e-2, reason="one step's rounding at 11 bits; 8e-4 expected from logits"
    ),
    ("free step 1", "float32"): Tolerance(bound=2e-6, reason="as re-synchronised"),
    ("free step 2", "float32"): Tolerance(
        bound=2e-4, reason="one flip in the first update; 3e-6 measured, at most 4e-5 known"
    ),
    ("free step 5", "float32"): Tolerance(
        bound=2e-3, reason="a flip grows some threefold a step; at most 4e-4 known"
    ),
    ("free step 10", "float32"): Tolerance(
        bound=1e-2, reason="as step 5; 2e-5 measured, at most 2e-3 known"
    ),
    ("against control", "float32"): Tolerance(
        bound=3.0, reason="both are draws of the same chaos; 1.7 measured"
    ),
    ("against control", "bfloat16"): Tolerance(bound=3.0, reason="as float32; 0.8 measured"),
    ("against control", "float16"): Tolerance(bound=3.0, reason="as float32"),
    ("update", "float64"): Tolerance(
        bound=1e-12, reason="20 steps whose formulas agree; 1e-14 measured, another formula 1e-6"
    ),
    ("update", "float32"): Tolerance(
        bound=1e-3, reason="3 steps; one ReLU or pool that flips moves the loss by up to 4e-5"
    ),
}


def tolerance(check: Check, precision: Precision) -> float:
    """The bound of a check in a precision."""
    return TOLERANCES[check, precision].bound
