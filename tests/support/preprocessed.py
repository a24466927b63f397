"""Image files, and what a known preprocessing makes of them."""

import numpy as np

from alexnet_impl.ports.image_readings import (
    FRAMINGS,
    ORDERS,
    RESAMPLINGS,
    SCALINGS,
    Decoding,
    in_order,
)

SIZE = (16, 16)
RGB = next(iter(ORDERS))
SQUASHED = next(one for one in FRAMINGS if one.name.startswith("squashed"))


def noise_files():
    """Noise of two sizes, one with odd sides, by file and decoding."""
    random = np.random.default_rng(0)
    sizes = {"wide.png": (33, 47), "tall.png": (28, 12)}
    return {
        name: {Decoding(): random.integers(0, 256, (*size, 3), dtype=np.uint8)}
        for name, size in sizes.items()
    }


def results(
    files,
    framing=SQUASHED,
    resampling=RESAMPLINGS[0],
    order=RGB,
    scaling=SCALINGS[1],
    way=0,
):
    """What a function makes of files: float32 of shape (*SIZE, 3)."""
    made = {}
    for name, choices in files.items():
        image = list(choices.values())[way if way < len(choices) else 0]
        pixels = framing.steps(image.shape[:2], SIZE)(image, resampling)
        scaled = pixels * np.array(scaling.slope) + np.array(scaling.offset)
        made[name] = in_order(scaled, order).astype(np.float32)
    return made
