"""A timed call: what a benchmark calls repeatedly, and the sizes of the calibration kernels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

COPY_BYTES = 256 * 2**20
"""Size in bytes of the array that the calibration's copy reads and writes: beyond any cache."""
FIT_COST_S = 0.07
"""Seconds that a call of keras.Model.fit costs beyond its batches: 0.016 to 0.068 were seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedCall:
    """Something that is called repeatedly while it is timed.

    Attributes:
        call: Does it once; does not wait for the device.
        amount: Size of the work of one call, in `unit`.
        unit: 'FLOP', 'B' or 'images'.
        synchronize: Waits until the device has finished its work.
        peak_memory_bytes: Gives the most memory held on the accelerator so far, in bytes; None on
            a CPU.
        cost_s: Seconds that a call may cost beyond its work.
        with_batches: Returns the same workload with that number of batches a call, to amortise the
            cost of a call; None where a call costs nothing.
        with_size: Returns the same matrix product with that number of rows and columns; None for
            anything else.
    """

    call: Callable[[], Any]
    amount: float
    unit: str
    synchronize: Callable[[], None]
    peak_memory_bytes: Callable[[], int | None] = lambda: None
    cost_s: float = 0.0
    with_batches: Callable[[int], "TimedCall"] | None = None
    with_size: Callable[[int], "TimedCall"] | None = None

    def call_and_wait(self) -> None:
        """Does it once, and waits until the device has finished."""
        self.call()
        self.synchronize()


def peak_precisions(device_type: str, timed: str) -> tuple[str, ...]:
    """Precisions in which a device's peak is measured.

    Args:
        device_type: 'cpu', 'cuda' or 'mps'. Few CPUs compute float16 faster than float32.
        timed: Precision of the benchmark, which is always among the result.
    """
    usual = ("float32", "bfloat16") if device_type == "cpu" else ("float32", "bfloat16", "float16")
    return usual if timed in usual else (*usual, timed)


SMALL_SIZE = 256
"""Rows and columns of the square matrices whose product is timed first."""
MAX_PRODUCT_S = 0.5
"""Seconds that one product of a calibration may take: a CPU without native bfloat16 multiplies it a
hundred times more slowly than float32."""


def matmul_size(device: str, small_product_s: float) -> int:
    """Rows and columns of the square matrices whose product shows a device's peak FLOP/s.

    Args:
        device: 'cpu', or 'gpu' for any other kind.
        small_product_s: Seconds that a product of SMALL_SIZE rows and columns takes.

    Returns:
        The largest power of two up to 2048 on a CPU and 8192 elsewhere whose product takes at most
        MAX_PRODUCT_S at that speed, but at least SMALL_SIZE.
    """
    size = 2048 if device == "cpu" else 8192
    while size > SMALL_SIZE and small_product_s * (size / SMALL_SIZE) ** 3 > MAX_PRODUCT_S:
        size //= 2
    return size
