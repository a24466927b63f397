"""Batches of a run, in the order and the form in which its recipe feeds them."""

from collections.abc import Iterator, Sequence
from typing import Any

from alexnet_impl.data.batches import (
    Batch,
    BatchPlan,
    GatherIndices,
    chain_digest,
    epoch_batches,
    epoch_gather_indices,
)
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.dataset import Dataset, Split
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.data.progress import Progress, silent
from alexnet_impl.frameworks import DeviceTrainer
from alexnet_impl.recipe.recipe import Recipe


def batch_plan(recipe: Recipe) -> BatchPlan:
    """Returns how a recipe cuts the training images into batches."""
    return BatchPlan(
        global_batch_size=recipe.global_batch_size,
        seed=recipe.seed,
        shuffle_buffer=recipe.shuffle_buffer,
        reshuffle=recipe.reshuffle,
        drop_last=recipe.drop_last,
        flip=recipe.flip,
        alternate_flips=recipe.alternate_flips,
        crop_padding=recipe.crop_padding,
    )


def run_images(data: DataConfig, recipe: Recipe, progress: Progress = silent) -> Dataset:
    """Loads the images of a run, with the validation split that its recipe asks for.

    Raises:
        DataError: See load_dataset().
        UnknownNameError: See load_dataset().
    """
    return load_dataset(
        data,
        validation_fraction=recipe.validation_fraction,
        validation_split=recipe.validation_split,
        seed=recipe.seed,
        progress=progress,
    )


def epoch_digest(train: Split, recipe: Recipe) -> tuple[int, str]:
    """Returns the number of batches in the first epoch, and the digest of all their bytes."""
    count, digest = 0, ""
    for batch in epoch_batches(train, batch_plan(recipe), 0):
        count, digest = count + 1, chain_digest(digest, batch)
    return count, digest


def training_batches(
    train: Split, recipe: Recipe, epoch: int, start: int = 0
) -> Iterator[Batch] | Iterator[GatherIndices]:
    """Returns an epoch's batches: images, or gather indices if the dataset is on the device.

    Args:
        train: Training images, uint8 of shape (num_images, height, width, 3).
        recipe: Its seed, batch size and augmentation.
        epoch: Counted from 0.
        start: The first batch to return, counted from 0.
    """
    batches = epoch_gather_indices if recipe.device_data else epoch_batches
    return batches(train, batch_plan(recipe), epoch, start)


def prefetch_depth(recipe: Recipe) -> int:
    """Returns how many batches are made ahead: those of Recipe.prefetch calls."""
    return recipe.prefetch * recipe.steps_per_call


def take_steps(
    trainer: DeviceTrainer,
    batches: Sequence[Batch] | Sequence[GatherIndices],
    learning_rates: Sequence[float],
) -> Any:
    """Takes one step per batch, in one call.

    Args:
        trainer: The trainer.
        batches: Batches of one size: uint8 images of shape (batch, height, width, 3), or gather
            indices.
        learning_rates: One per batch.

    Returns:
        A handle for Trainer.read(), which gives the values of all steps.
    """
    labels = [batch.labels for batch in batches]
    feeds: Any = [batch if isinstance(batch, GatherIndices) else batch.images for batch in batches]
    if len(feeds) == 1:
        return trainer.train_step(feeds[0], labels[0], learning_rates[0])
    return trainer.train_steps(feeds, labels, learning_rates)
