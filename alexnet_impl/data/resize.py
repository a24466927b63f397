"""Bilinear resizing as a product with a matrix, the same one for every framework."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from alexnet_impl.errors import DataError


def interpolation_matrix(
    source_size: int,
    target_size: int,
    *,
    antialias: bool = True,
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    """The matrix that resizes one image axis bilinearly: `matrix @ axis`.

    Pixel centres lie at half coordinates and edges are clamped, as in
    `torch.nn.functional.interpolate(align_corners=False)`, `tf.image.resize` and Pillow.

    Args:
        source_size: Length of the axis before, in pixels.
        target_size: Length of the axis after, in pixels.
        antialias: When shrinking, widen the filter to cover all source pixels, as the function
            of the same name does in both frameworks. Enlarging is the same with and without.
        dtype: What the float64 result is rounded to.

    Returns:
        Shape (target_size, source_size), non-negative, each row summing to 1.

    Raises:
        DataError: If a size is below 1.
    """
    if min(source_size, target_size) < 1:
        raise DataError(f"Cannot resize {source_size} pixels to {target_size}: both must be >= 1.")
    scale = source_size / target_size
    radius = max(scale, 1.0) if antialias else 1.0
    targets = (np.arange(target_size) + 0.5) * scale
    sources = np.arange(source_size) + 0.5
    weights = np.maximum(1 - np.abs(sources - targets[:, None]) / radius, 0)
    # Dividing by the row sum is the clamping: near an edge, part of the filter has no pixel.
    matrix: NDArray[Any] = (weights / weights.sum(axis=1, keepdims=True)).astype(dtype)
    return matrix
