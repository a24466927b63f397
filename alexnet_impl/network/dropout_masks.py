"""Dropout masks that every framework can draw bit for bit: a stateless hash of their position.

Whether a value is kept depends on (seed, step, layer, image, unit) alone, not on what was drawn
before it, so no generator has to be carried along. The adapters compute the same integers on their
device; this module has them in NumPy.

References:
    The mixing steps are lowbias32 of Chris Wellons's hash-prospector.
"""

import numpy as np
from numpy.typing import NDArray

MULTIPLIERS = (0x7FEB352D, 0x846CA68B)
SHIFTS = (16, 15, 16)


def hash32(values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Mixes 32 bits into 32 bits, one to one; any shape, kept."""
    first, second, third = SHIFTS
    mixed = (values ^ (values >> np.uint32(first))) * np.uint32(MULTIPLIERS[0])
    mixed = (mixed ^ (mixed >> np.uint32(second))) * np.uint32(MULTIPLIERS[1])
    return mixed ^ (mixed >> np.uint32(third))


def mask_key(seed: int, step: int, place: int) -> int:
    """Returns the 32-bit key of one layer's masks in one step, different for every other.

    Steps are counted from 0; `place` is the layer's index in the Spec.
    """
    key = np.zeros(1, np.uint32)
    for part in (seed, step, place):
        key = hash32(key ^ np.uint32(part & 0xFFFFFFFF))
    return int(key[0])


def keep_threshold(rate: float) -> int:
    """Returns the hash below which a value is dropped."""
    return round(rate * 2**32)


def keep_mask(batch: int, units: int, rate: float, key: int) -> NDArray[np.bool_]:
    """Boolean mask of the values that dropout keeps, as every framework draws it.

    The key enters between two hashes: two keys that differ in one bit would otherwise give masks
    that are permutations of each other.

    Args:
        batch: Number of images.
        units: Values per image, counted in the canonical order: channels first.
        rate: Share that is dropped.
        key: A result of mask_key().

    Returns:
        Shape (batch, units).
    """
    index = np.arange(batch * units, dtype=np.uint32).reshape(batch, units)
    return hash32(hash32(index) ^ np.uint32(key)) >= np.uint64(keep_threshold(rate))
