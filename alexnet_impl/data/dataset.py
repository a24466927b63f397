"""Dataset and Split: images and labels in memory, in one layout, with a fingerprint."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Images and their labels.

    Attributes:
        images: uint8 of shape (num_images, height, width, 3), RGB, 0 to 255.
        labels: int64 of shape (num_images,), indices into the dataset's class_names.

    Raises:
        DataError: If dtype, shape or length is not as above.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or self.images.shape[3] != 3:
            raise DataError(
                f"images are {self.images.dtype} of shape {self.images.shape}; they must be "
                "uint8 of shape (num_images, height, width, 3)."
            )
        if self.labels.dtype != np.int64 or self.labels.shape != self.images.shape[:1]:
            raise DataError(
                f"labels are {self.labels.dtype} of shape {self.labels.shape}; they must be "
                f"int64 of shape ({len(self.images)},)."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.int64]) -> "Split":
        """Copies the images at these indices, in this order.

        Args:
            indices: Shape (num_taken,), into the split.
        """
        return Split(images=self.images[indices], labels=self.labels[indices])


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A training, a test and perhaps a validation split, with their source.

    Attributes:
        name: One of DATASETS (data_config.py).
        source: One sentence on the origin of the images and their processing.
        class_names: One name per label.
        train: Images to train on.
        test: Images for the final evaluation.
        validation: Images to make choices on; None unless they were split off.
    """

    name: str
    source: str
    class_names: tuple[str, ...]
    train: Split
    test: Split
    validation: Split | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_size(self) -> tuple[int, int]:
        """Stored (height, width) of the images."""
        _, height, width, _ = self.train.images.shape
        return height, width

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over class names, shapes, pixels and labels of every split, as hex."""
        digest = hashlib.sha256("\n".join(self.class_names).encode())
        for split in (self.train, self.test, self.validation):
            if split is None:
                continue
            digest.update(repr(split.images.shape).encode())
            digest.update(np.ascontiguousarray(split.images).data)
            digest.update(np.ascontiguousarray(split.labels).data)
        return digest.hexdigest()
