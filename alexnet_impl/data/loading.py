"""Loading of the dataset that a DataConfig names, with its validation split and subsets."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.data.cifar_files import find_cifar, load_cifar
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.dataset import Dataset, Split
from alexnet_impl.data.digits import load_digits
from alexnet_impl.data.image_folder import load_image_folder, load_images
from alexnet_impl.data.listing import has_own_images
from alexnet_impl.data.parquet import ParquetSource, is_parquet
from alexnet_impl.data.paths import require_existing
from alexnet_impl.data.progress import Progress, silent
from alexnet_impl.data.splits import balanced_indices, remaining_indices, stratified_indices
from alexnet_impl.data.synthetic import make_synthetic
from alexnet_impl.errors import DataError, TooFewImagesError, UnknownNameError, require_home

_TEST_SUBSET_SEED = 0


def load_dataset(
    config: DataConfig,
    *,
    validation_fraction: float = 0.0,
    validation_split: str = "stratified",
    seed: int = 0,
    progress: Progress | None = None,
) -> Dataset:
    """Loads the images, takes the subsets, then splits off the validation part.

    Images are copied only if some of them are left out.

    Args:
        config: The choice of images.
        validation_fraction: Fraction of the training part that becomes the validation split: of
            `train_images` where they are given.
        validation_split: 'stratified' takes it from every class in proportion; 'last' takes the
            last images, as Keras's validation_split does, which are whole classes if the images
            are sorted by class.
        seed: Seed of the validation split and the training subset. The test subset is the same
            for every seed, so that all runs are evaluated on the same images.
        progress: Receives the progress of decoding and downloading.

    Raises:
        DataError: If the images cannot be used, or there are fewer than asked for.
        UnknownNameError: If a class to keep does not exist.
    """
    if not 0 <= validation_fraction < 1:
        raise DataError(f"validation_fraction={validation_fraction} must be in [0, 1).")
    if seed < 0:
        raise DataError(f"seed={seed} must be at least 0.")
    config = settle(config)
    dataset = _load(config, progress or silent)
    if config.dataset == "synthetic":  # made in the sizes asked for
        config = replace(config, train_images=None, test_images=None)
    if config.classes:
        dataset = _keep_classes(dataset, config.classes)
    validation_rng, train_rng = np.random.default_rng(seed).spawn(2)
    dataset = _limit(dataset, config, train_rng)
    if not validation_fraction:
        return dataset
    return _split_off(dataset, validation_fraction, validation_split, validation_rng)


def settle(config: DataConfig) -> DataConfig:
    """Resolves the config: names the dataset that data_dir contains and makes data_dir absolute.

    Raises:
        DataError: If data_dir does not exist, is neither a folder nor a file, or its home folder is
            not known.
    """
    if config.data_dir is None:
        return replace(config, dataset=config.dataset or "digits")
    with require_home("give the absolute path of the images"):
        data_dir = require_existing(config.data_dir.expanduser()).resolve()
    if not (data_dir.is_dir() or data_dir.is_file()):
        raise DataError(f"{data_dir}: is a pipe or a device; give a folder or an archive.")
    return replace(config, dataset=config.dataset or _dataset_in(data_dir), data_dir=data_dir)


def _dataset_in(data_dir: Path) -> str:
    """The name of the dataset that a file or folder holds."""
    if has_own_images(data_dir):
        return "image_folder"
    if found := find_cifar(data_dir):
        return found.release.dataset
    return "parquet" if is_parquet(data_dir) else "image_folder"


def _load(config: DataConfig, progress: Progress) -> Dataset:
    match config.dataset:
        case "digits":
            return load_digits()
        case "synthetic":
            return make_synthetic(
                train_images=config.train_images or 2_000,
                test_images=config.test_images or 500,
                image_size=config.image_size or 32,
            )
        case "cifar10" | "cifar100" as name:
            return load_cifar(name, config.data_dir, progress=progress)
        case "parquet":
            source, size = ParquetSource(_require_data_dir(config)), config.image_size
            return load_images(source, source.listing, image_size=size, progress=progress)
        case _:
            data_dir = _require_data_dir(config)
            return load_image_folder(data_dir, image_size=config.image_size, progress=progress)


def _require_data_dir(config: DataConfig) -> Path:
    if config.data_dir is None:
        raise DataError(
            f"dataset='{config.dataset}' needs data_dir: a folder or archive with the images."
        )
    return require_existing(config.data_dir)


def _keep_classes(dataset: Dataset, names: tuple[str, ...]) -> Dataset:
    """Keeps only the images of these classes, numbered in this order."""
    for name in names:
        if name not in dataset.class_names:
            raise UnknownNameError(f"class of {dataset.name}", name, dataset.class_names)
    numbers = np.array([dataset.class_names.index(name) for name in names])

    def kept(split: Split) -> Split:
        indices = np.flatnonzero(np.isin(split.labels, numbers))
        taken = split.take(indices)
        order = np.argsort(numbers)
        places = np.searchsorted(numbers, taken.labels, sorter=order)
        return Split(images=taken.images, labels=order[places].astype(np.int64))

    return replace(dataset, class_names=names, train=kept(dataset.train), test=kept(dataset.test))


def _limit(dataset: Dataset, config: DataConfig, train_rng: np.random.Generator) -> Dataset:
    """Takes the numbers of training and test images that are asked for."""
    train, test = dataset.train, dataset.test
    if config.train_images is not None:
        _require_images("train_images", config.train_images, len(train))
        train = _take(train, balanced_indices(train.labels, config.train_images, train_rng))
    if config.test_images is not None:
        _require_images("test_images", config.test_images, len(test))
        test_rng = np.random.default_rng(_TEST_SUBSET_SEED)
        test = _take(test, balanced_indices(test.labels, config.test_images, test_rng))
    return replace(dataset, train=train, test=test)


def _split_off(
    dataset: Dataset, validation_fraction: float, split: str, rng: np.random.Generator
) -> Dataset:
    """Makes a fraction of the training images the validation split."""
    train = dataset.train
    count = max(round(validation_fraction * len(train)), 1)
    if split == "last":
        drawn = np.arange(len(train) - count, len(train))
    else:
        drawn = stratified_indices(train.labels, count, rng)
    kept = remaining_indices(len(train), drawn)
    return replace(dataset, train=train.take(kept), validation=train.take(drawn))


def _require_images(name: str, asked: int, available: int) -> None:
    if asked > available:
        raise TooFewImagesError(
            f"{name}={asked} is more than the {available} images available; choose at most "
            f"{available}."
        )


def _take(split: Split, indices: NDArray[np.int64]) -> Split:
    """The split itself where the sorted indices leave nothing out."""
    return split if len(indices) == len(split) else split.take(indices)
