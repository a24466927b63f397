"""Native bfloat16: what the hardware says, and a probe of a fifth of a second that confirms it.

Without it a framework computes bfloat16 by way of float32: on an AMD EPYC without AVX-512 PyTorch
multiplied matrices at 1.3 GFLOP/s in bfloat16 and at 109 in float32.
"""

import math
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alexnet_impl.machine.cpu import cpu_features

CPU_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16", "svebf16"})
"""Those of CPU_FEATURES that multiply bfloat16."""
CUDA_CAPABILITY = (8, 0)
"""First CUDA compute capability with bfloat16: NVIDIA's Ampere."""
PROBE_S, PROBE_ROUNDS = 0.1, 20
"""The probe starts no further round after this time, or after this number of rounds."""
SLOWEST_NATIVE = 0.5
"""Lowest measured speed over float32's that confirms the hardware's word: a small product on a fast
device takes equally long in both, and on a busy machine a measurement may be off by half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bfloat16Support:
    """Whether a framework computes bfloat16 natively on its device.

    Attributes:
        hardware: Whether the device has instructions for it; None if the system does not say.
        speed: Measured speed of a matrix product in bfloat16 over that in float32.
    """

    hardware: bool | None
    speed: float

    @property
    def is_native(self) -> bool:
        """Whether bfloat16 is no slower than float32; as measured if the hardware is unknown."""
        if self.hardware is None:
            return self.speed >= 1
        return self.hardware and self.speed >= SLOWEST_NATIVE


def cpu_has_bfloat16() -> bool | None:
    """Whether the processor multiplies bfloat16; None if the system does not say."""
    features = cpu_features()
    if features is None or platform.system() == "Windows":  # which lists no such feature
        return None
    return not CPU_BFLOAT16.isdisjoint(features)


def measure_bfloat16(
    hardware: bool | None,  # noqa: FBT001 - Bfloat16Support's first field
    products: Sequence[Callable[[], None]],
    clock: Callable[[], float] = time.perf_counter,
) -> Bfloat16Support:
    """Measures how fast a matrix product is in bfloat16, by the fastest of several calls in turns.

    Args:
        hardware: What the device says; see Bfloat16Support.
        products: Each computes the product and waits for it: in float32 and in bfloat16.
        clock: Gives the time in seconds.
    """
    for product in products:
        product()  # starts threads, allocates, and chooses a kernel
    best = [math.inf] * len(products)
    started = clock()
    for _ in range(PROBE_ROUNDS):
        for place, product in enumerate(products):
            before = clock()
            product()
            best[place] = min(best[place], clock() - before)
        if clock() - started > PROBE_S:
            break
    return Bfloat16Support(hardware=hardware, speed=best[0] / best[1])
