"""Checks whether the images of a run are the reports' images, those of CIFAR-10."""

from collections.abc import Sequence

from alexnet_impl.data.cifar import CIFAR10_CLASSES
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.reproduction.checks.finding import NUM_TEST, NUM_TRAIN
from alexnet_impl.runs.records import DatasetRecord

_SHORT_NAMES = {"airplane": "plane", "automobile": "car"}
"""Names that files of other sources give to these classes."""


def class_place(name: str, class_names: Sequence[str]) -> int | None:
    """Index of a class; None if the dataset has no class of that name."""
    names = (name, _SHORT_NAMES.get(name, name))
    return next((class_names.index(n) for n in names if n in class_names), None)


def other_images(dataset: DatasetRecord, data: DataConfig) -> str:
    """How images differ from CIFAR-10's beyond the number asked for, in words; empty if equal."""
    names = dataset.class_names
    if len(names) != len(CIFAR10_CLASSES) or any(
        class_place(n, names) is None for n in CIFAR10_CLASSES
    ):
        return f"images of {len(names)} other classes ({', '.join(names)})"
    found = (dataset.num_train_images + dataset.num_validation_images, dataset.num_test_images)
    asked = (
        NUM_TRAIN if data.train_images is None else found[0],
        NUM_TEST if data.test_images is None else found[1],
    )
    if found == asked:
        return ""
    return (
        f"{found[0]:,} training and {found[1]:,} test images instead of {asked[0]:,} and "
        f"{asked[1]:,}"
    )
