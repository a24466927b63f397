"""What is called again and again while it is timed, and how large it is in every framework."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

COPY_BYTES = 256 * 2**20
"""Of the array that a copy reads and writes: beyond any cache."""
FIT_COST_S = 0.07
"""Seconds that a call of keras.Model.fit costs beyond its batches: 0.016 to 0.068 were seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedCall:
    """Something that is called again and again while it is timed.

    Attributes:
        call: Does it once; does not wait for the device.
        amount: How much of it one call does.
        unit: Of amount: 'FLOP', 'B' or 'images'.
        synchronize: Waits until the device has finished its work.
        peak_memory_bytes: Most memory held on the accelerator so far; None on a CPU.
        cost_s: Seconds that a call may cost beyond what it does.
        of_batches: Makes the same anew with calls of so many batches, where a call has a cost.
    """

    call: Callable[[], Any]
    amount: float
    unit: str
    synchronize: Callable[[], None]
    peak_memory_bytes: Callable[[], int | None] = lambda: None
    cost_s: float = 0.0
    of_batches: Callable[[int], "TimedCall"] | None = None


def peak_precisions(device_type: str, timed: str) -> tuple[str, ...]:
    """Precisions in which a device's peak is measured.

    Args:
        device_type: 'cpu', 'cuda' or 'mps'. Of the first few compute float16 faster than float32.
        timed: The precision of what is timed, which is always among them.
    """
    usual = ("float32", "bfloat16") if device_type == "cpu" else ("float32", "bfloat16", "float16")
    return usual if timed in usual else (*usual, timed)


def matmul_size(device_type: str) -> int:
    """Rows and columns of the matrices whose product shows a device's peak.

    Args:
        device_type: 'cpu', 'cuda' or 'mps'.
    """
    return 2048 if device_type == "cpu" else 8192
