"""Dropout masks that two frameworks can draw alike: a stateless hash of who asks.

Whether a value is kept depends on (seed, step, layer, image, unit) alone, not on what was drawn
before it, so no generator has to be carried along. The adapters compute the same integers on their
device; here they stand in plain NumPy.

References:
    The mixing steps are lowbias32 of Chris Wellons's hash-prospector.
"""

import numpy as np
from numpy.typing import NDArray

MULTIPLIERS = (0x7FEB352D, 0x846CA68B)
SHIFTS = (16, 15, 16)


def hash32(values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Mix 32 bits into 32 bits, one to one."""
    first, second, third = SHIFTS
    mixed = (values ^ (values >> np.uint32(first))) * np.uint32(MULTIPLIERS[0])
    mixed = (mixed ^ (mixed >> np.uint32(second))) * np.uint32(MULTIPLIERS[1])
    return mixed ^ (mixed >> np.uint32(third))


def mask_key(seed: int, step: int, place: int) -> int:
    """The 32 bits that tell one layer's masks in one step from all others.

    Args:
        seed: Of the recipe.
        step: Counted from 0.
        place: Of the layer in the Spec.
    """
    key = np.zeros(1, np.uint32)
    for part in (seed, step, place):
        key = hash32(key ^ np.uint32(part & 0xFFFFFFFF))
    return int(key[0])


def keep_threshold(rate: float) -> int:
    """A hash below it means that the value is dropped."""
    return round(rate * 2**32)


def keep_mask(batch: int, units: int, rate: float, key: int) -> NDArray[np.bool_]:
    """Which values are kept, as both frameworks draw them.

    The key enters between two hashes: two keys that differ in one bit would otherwise give masks
    that are permutations of each other.

    Args:
        batch: Number of images.
        units: Values per image, counted in the canonical order: channels first.
        rate: Share that is dropped.
        key: Of mask_key().

    Returns:
        Shape (batch, units).
    """
    index = np.arange(batch * units, dtype=np.uint32).reshape(batch, units)
    return hash32(hash32(index) ^ np.uint32(key)) >= np.uint64(keep_threshold(rate))
