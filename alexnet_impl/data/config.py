"""What data to use, as one frozen dataclass that a run folder can keep as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from alexnet_impl.errors import DataError, UnknownNameError
from alexnet_impl.typed_json import read, to_json

DATASETS = ("digits", "cifar10", "image_folder", "synthetic")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images to train and test on.

    Attributes:
        dataset: 'digits', 'cifar10', 'image_folder' or 'synthetic'. None means: what data_dir
            holds (the official CIFAR-10 files, or else an image folder), and 'digits' without one.
        data_dir: A folder or archive with the images.
        train_images: Keep this many images of the training part, evenly from every class.
        test_images: Keep this many images of the test part, evenly from every class.
        classes: Keep the images of these classes alone, and number them in this order.
        image_size: Height and width to store the images of 'image_folder' and 'synthetic' in,
            in pixels. None means: as they are where all are squares of one size; otherwise the
            smallest side found, at most 256. 'synthetic' makes 32x32.

    Raises:
        UnknownNameError: If there is no such dataset.
        DataError: If a number is below 1, a class is named twice, or a field does not belong to
            the dataset.
    """

    dataset: str | None = None
    data_dir: Path | None = None
    train_images: int | None = None
    test_images: int | None = None
    classes: tuple[str, ...] = ()
    image_size: int | None = None

    def __post_init__(self) -> None:
        if len(set(self.classes)) < len(self.classes):
            raise DataError(f"classes={self.classes} names one twice.")
        if self.dataset is not None and self.dataset not in DATASETS:
            raise UnknownNameError("dataset", self.dataset, DATASETS)
        for name in ("train_images", "test_images", "image_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise DataError(f"{name}={value} must be at least 1; leave it out for all.")
        if self.dataset in ("digits", "synthetic") and self.data_dir is not None:
            raise DataError(
                f"dataset='{self.dataset}' reads no files, but data_dir='{self.data_dir}' was "
                "given; leave one of the two out."
            )
        if self.dataset in ("digits", "cifar10") and self.image_size is not None:
            raise DataError(
                f"dataset='{self.dataset}' is stored as 32x32, but image_size={self.image_size} "
                "was given; leave it out: a variant resizes its input itself."
            )

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON holds them."""
        return dict(to_json(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Returns the config that to_dict() wrote.

        Raises:
            RecordError: If a key is no field, or a value is of another type.
        """
        return read(cls, values)
