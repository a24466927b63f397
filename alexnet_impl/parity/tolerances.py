"""Tolerances of every parity check, one table with a reason for each number.

A check passes if its difference is at most the bound for its name and precision. Differences are
relative: the largest absolute difference over the largest absolute value, L2 where the reason says
so. Measured on CPUs with torch 2.14.1, tensorflow 2.21.0 and keras 3.15.1.
"""

from dataclasses import dataclass
from typing import Literal

from alexnet_impl.parity.record import CheckResult
from alexnet_impl.recipe.recipe import Precision

Check = Literal[
    "preprocessing",
    "logits",
    "first loss",
    "update",
    "training",
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
    """A bound and the reason for its size."""

    bound: float
    reason: str


_ROWS: dict[Check, dict[Precision, tuple[float, str]]] = {
    "preprocessing": {
        "float64": (1e-12, "two products of at most 227 terms at 1e-16"),
        "float32": (1e-5, "two products of at most 227 terms; 5.4e-7 measured on real images"),
        "bfloat16": (1e-5, "images are preprocessed in float32"),
        "float16": (1e-5, "images are preprocessed in float32"),
    },
    "logits": {
        "float64": (1e-12, "sums of 10^4 terms at 1e-16; 4e-15 measured over all variants"),
        "float32": (
            1e-5,
            "only the order of sums differs; 1.7e-6 measured narrow, 7e-7 at full width",
        ),
        "bfloat16": (3e-2, "8 bits of mantissa, rounded at different places; 8.1e-3 measured"),
        "float16": (5e-3, "11 bits of mantissa, rounded at different places; 1.5e-3 measured"),
    },
    "first loss": {
        "float64": (1e-12, "as logits"),
        "float32": (5e-6, "the loss is a mean over the batch; 5e-7 measured"),
        "bfloat16": (1e-2, "as logits; 6e-6 measured at 2.3"),
        "float16": (1e-2, "as logits"),
    },
    "update": {
        "float64": (1e-12, "20 steps of the same formulas; 1e-14 measured, another formula 1e-6"),
        "float32": (1e-3, "3 steps; one ReLU or pool that flips moves the loss by up to 4e-5"),
    },
    "training": {
        "float64": (1e-12, "losses and weights of own steps; 6e-14 measured over 100"),
        "float32": (1e-3, "as update"),
    },
    "weights": {"float32": (1e-6, "a conversion moves numbers and computes none")},
    "layers": {
        "float64": (1e-12, "as logits; 5e-15 measured at full width, against NumPy as well"),
        "float32": (1e-5, "as logits; 2.2e-6 measured"),
        "bfloat16": (3e-2, "as logits; 1.2e-2 measured"),
        "float16": (5e-3, "as logits; 8e-4 measured"),
    },
    "loss": {
        "float64": (1e-12, "as logits; 2e-16 measured"),
        "float32": (5e-6, "a mean over the batch; 1.1e-7 measured"),
        "bfloat16": (2e-2, "as logits; 2.1e-3 measured"),
        "float16": (5e-3, "as logits; 3e-6 measured"),
    },
    "gradients": {
        "float64": (1e-11, "L2 of the worst weight; 4e-15 measured, more where sums cancel"),
        "float32": (
            3e-2,
            "L2 of the worst weight; one flipped ReLU moves it by 1e-2; 2e-3 measured",
        ),
    },
    "median gradient": {
        "float64": (1e-12, "L2; 3e-15 measured"),
        "float32": (1e-5, "L2, which no single flip moves; 1.5e-6 measured"),
        "bfloat16": (2.5e-1, "L2; 3e-2 at first, 0.11 measured once the loss is small"),
        "float16": (1e-1, "L2; 1.6e-2 measured"),
    },
    "weights' change": {
        "float64": (
            1e-9,
            "L2: Adam divides by roots of almost 0; 2e-12 measured, another formula 1e-6 and more",
        ),
        "float32": (
            1e-1,
            "L2; Adam turns the last bit of a gradient of almost 0 into a whole step",
        ),
    },
    "median change": {
        "bfloat16": (2.5e-1, "L2; 0.12 measured over SGD and Adam, Nesterov on one side 0.4"),
        "float16": (1.5e-1, "L2; 6.7e-2 measured over SGD and Adam, Nesterov on one side 0.4"),
    },
    "lockstep": {"float64": (1e-12, "rounding at 1e-16, and no flip in 100 steps; 4e-15 measured")},
    "re-synchronised": {
        "float32": (2e-6, "one step's rounding: a few last bits of a loss of 2; 9e-7 measured"),
        "bfloat16": (5e-2, "one step's rounding at 8 bits; 1.4e-2 measured"),
        "float16": (1e-2, "one step's rounding at 11 bits; 8e-4 expected from logits"),
    },
    "free step 1": {"float32": (2e-6, "as re-synchronised")},
    "free step 2": {
        "float32": (2e-4, "one flip in the first update; 3e-6 measured, at most 4e-5 known")
    },
    "free step 5": {"float32": (2e-3, "a flip grows about threefold per step; at most 4e-4 known")},
    "free step 10": {"float32": (1e-2, "as step 5; 2e-5 measured, at most 2e-3 known")},
    "against control": {
        "float32": (3.0, "both are samples of the same rounding noise, amplified; 1.7 measured"),
        "bfloat16": (3.0, "as float32; 0.8 measured"),
        "float16": (3.0, "as float32"),
    },
}

TOLERANCES: dict[tuple[Check, Precision], Tolerance] = {
    (check, precision): Tolerance(bound=bound, reason=reason)
    for check, row in _ROWS.items()
    for precision, (bound, reason) in row.items()
}


def judged(
    row: Check, precision: Precision, measured: float, *, where: str = "", name: str = ""
) -> CheckResult:
    """The result of a check by the table.

    Args:
        row: The row of the table.
        precision: Precision of the computation.
        measured: The difference.
        where: Place of the first mismatch; dropped if the check holds.
        name: Name of the check if it is not the row's.
    """
    found = TOLERANCES[row, precision]
    return CheckResult(
        name=name or row,
        precision=precision,
        measured=measured,
        tolerance=found.bound,
        reason=found.reason,
        where="" if measured <= found.bound else where,
    )


def tolerance(check: Check, precision: Precision) -> float:
    """The bound of a check in a precision."""
    return TOLERANCES[check, precision].bound
