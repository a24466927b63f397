"""Resizing as a matrix product, with the same matrix for every framework."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from alexnet_impl.errors import DataError


def interpolation_matrix(
    source_size: int,
    target_size: int,
    *,
    method: str = "antialiased",
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    """Returns the matrix that resizes one image axis: `matrix @ axis`.

    Pixel centres lie at half coordinates and edges are clamped, as in
    `torch.nn.functional.interpolate(align_corners=False)`, `tf.image.resize` and Pillow.

    Args:
        source_size: Length of the axis before, in pixels.
        target_size: Length of the axis after, in pixels.
        method: 'bilinear', 'antialiased' or 'nearest'. antialiased is bilinear with a filter that
            covers all source pixels when shrinking, as `antialias=True` in both frameworks;
            enlarging is the same with and without.
        dtype: Type to which the float64 result is rounded.

    Returns:
        Shape (target_size, source_size), non-negative, each row summing to 1.

    Raises:
        DataError: If a size is below 1, or there is no such method.
    """
    if method not in ("antialiased", "bilinear", "nearest"):
        raise DataError(f"resize={method}: choose antialiased, bilinear or nearest.")
    if min(source_size, target_size) < 1:
        raise DataError(f"Cannot resize {source_size} pixels to {target_size}: both must be >= 1.")
    scale = source_size / target_size
    targets = (np.arange(target_size) + 0.5) * scale
    if method == "nearest":
        picked: NDArray[Any] = np.eye(source_size, dtype=dtype)[np.floor(targets).astype(int)]
        return picked
    radius = max(scale, 1.0) if method == "antialiased" else 1.0
    sources = np.arange(source_size) + 0.5
    weights = np.maximum(1 - np.abs(sources - targets[:, None]) / radius, 0)
    # Dividing by the row sum is the clamping: near an edge, part of the filter has no pixel.
    matrix: NDArray[Any] = (weights / weights.sum(axis=1, keepdims=True)).astype(dtype)
    return matrix


def resize_and_cut(
    source_size: int,
    target_size: int,
    resize_to: int | None = None,
    *,
    method: str = "antialiased",
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    """Returns the matrix that resizes to `resize_to` pixels and keeps the middle `target_size`.

    It is torchvision's Resize and CenterCrop in one product.

    Args:
        source_size: Length of the axis before, in pixels.
        target_size: Length of the axis after, in pixels.
        resize_to: Length in between, in pixels; None: target_size.
        method: See interpolation_matrix().
        dtype: Type to which the float64 result is rounded.

    Returns:
        Shape (target_size, source_size).

    Raises:
        DataError: If resize_to is below target_size; see also interpolation_matrix().
    """
    between = target_size if resize_to is None else resize_to
    if between < target_size:
        raise DataError(
            f"resize_to={between} is below the {target_size} pixels to be cut out of it."
        )
    first = round((between - target_size) / 2)
    matrix = interpolation_matrix(source_size, between, method=method, dtype=dtype)
    return matrix[first : first + target_size]
