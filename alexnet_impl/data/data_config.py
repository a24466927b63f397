"""DataConfig: which dataset a run uses, as one frozen dataclass that is stored as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from alexnet_impl.errors import DataError, UnknownNameError
from alexnet_impl.typed_json import read, to_json

DATASETS = ("digits", "cifar10", "cifar100", "image_folder", "parquet", "synthetic")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The choice of images to train and test on.

    Attributes:
        dataset: A name in DATASETS. None means what data_dir contains (the official files of
            CIFAR, Parquet files, otherwise an image folder); 'digits' without it.
        data_dir: A folder or archive with the images.
        train_images: Limit the training images to this number, balanced over the classes. The
            validation part is taken out of them.
        test_images: Limit the test images to this number, balanced over the classes.
        classes: Keep only the images of these classes, numbered in this order.
        image_size: Height and width in pixels of the stored images of 'image_folder', 'parquet'
            and 'synthetic'. None means unchanged if all are squares of one size, otherwise the
            smallest side found, at most 256; 32 for 'synthetic'.

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
            raise DataError(f"classes={self.classes} names a class twice; name each once.")
        if self.dataset is not None and self.dataset not in DATASETS:
            raise UnknownNameError("dataset", self.dataset, DATASETS)
        for name in ("train_images", "test_images", "image_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise DataError(f"{name}={value} must be at least 1; omit it for all.")
        if self.dataset in ("digits", "synthetic") and self.data_dir is not None:
            raise DataError(
                f"dataset='{self.dataset}' reads no files, but data_dir='{self.data_dir}' was "
                "given. Omit one of them."
            )
        if self.dataset in ("digits", "cifar10", "cifar100") and self.image_size is not None:
            raise DataError(
                f"dataset='{self.dataset}' is stored as 32x32, but image_size={self.image_size} "
                "was given. Omit it: the network's input is resized on the device."
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
