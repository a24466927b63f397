"""Random choice of the images of a subset or a validation split, class by class.

The first or last images would not do, because image folders are sorted by class.
"""

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.errors import DataError


def balanced_indices(
    labels: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draws `count` images, balanced over the classes, from labels of shape (num_images,).

    If `count` does not divide evenly, classes drawn at random give one more. If a class has too few
    images, it gives all of them and the others give more. So every class gives at least one image
    once `count` reaches the number of classes.

    Returns:
        Sorted indices into `labels`, shape (count,).

    Raises:
        DataError: If there are fewer than `count` images.
    """
    if not 1 <= count <= len(labels):
        raise DataError(
            f"{count} images cannot be drawn; choose 1 to {len(labels)}, the number available."
        )
    classes, sizes = np.unique(labels, return_counts=True)
    quotas = np.zeros_like(sizes)
    while (missing := count - int(quotas.sum())) > 0:
        takers = rng.permutation(np.flatnonzero(quotas < sizes))[:missing]
        share = missing // len(takers)
        quotas[takers] = np.minimum(quotas[takers] + share, sizes[takers])
    return _draw(labels, classes, quotas, rng)


def stratified_indices(
    labels: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draws `count` images, from each class in proportion to its size.

    Labels are of shape (num_images,). At least one image of every class remains.

    Returns:
        Sorted indices into `labels`, shape (count,).

    Raises:
        DataError: If not every class could keep an image.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    if not 1 <= count <= len(labels) - len(classes):
        raise DataError(
            f"{count} of {len(labels)} images cannot be split off: choose at least 1, and leave "
            f"one image to each of the {len(classes)} classes."
        )
    exact = sizes * count / len(labels)
    quotas = np.floor(exact).astype(np.int64)
    for _ in range(count - int(quotas.sum())):
        owed = np.where(quotas < sizes - 1, exact - quotas, -np.inf)
        quotas[np.argmax(owed)] += 1
    return _draw(labels, classes, quotas, rng)


def remaining_indices(num_images: int, indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sorted indices below `num_images` that are not in `indices`: shape (num_left,)."""
    return np.setdiff1d(np.arange(num_images), indices, assume_unique=True)


def _draw(
    labels: NDArray[np.int64],
    classes: NDArray[np.int64],
    quotas: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    drawn = [
        rng.choice(np.flatnonzero(labels == label), quota, replace=False)
        for label, quota in zip(classes, quotas, strict=True)
    ]
    return np.sort(np.concatenate(drawn))
