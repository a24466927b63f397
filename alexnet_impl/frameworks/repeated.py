"""What is called again and again while it is timed, and how large it is in every framework."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

COPY_BYTES = 256 * 2**20
"""Of the array that a copy reads and writes: beyond any cache."""
FIT_STEPS = 4
"""Batches in an epoch of keras.Model.fit: enough for what an epoch costs by itself to be small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """Something that is called again and again while it is timed.

    Attributes:
        call: Does it once; does not wait for the device.
        amount: How much of it one call does.
        unit: Of amount: 'FLOP', 'B' or 'images'.
        synchronize: Waits until the device has finished its work.
        peak_memory_bytes: Most memory held on the accelerator so far; None on a CPU.
    """

    call: Callable[[], Any]
    amount: float
    unit: str
    synchronize: Callable[[], None]
    peak_memory_bytes: Callable[[], int | None] = lambda: None


def matmul_size(device_type: str) -> int:
    """Rows and columns of the matrices whose product shows a device's peak.

    Args:
        device_type: 'cpu', 'cuda' or 'mps'.
    """
    return 2048 if device_type == "cpu" else 8192
