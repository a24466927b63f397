"""Batches drawn from (seed, epoch): the same arrays for every framework, starting at any batch.

Everything random about an epoch is drawn before its first batch, each kind from its own stream. So
batch k does not depend on where reading started, and switching flips on changes neither the order
nor the crops.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from alexnet_impl.data.dataset import Split
from alexnet_impl.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch of images and their labels.

    Attributes:
        images: uint8 of shape (batch, height, width, 3).
        labels: int64 of shape (batch,).
        indices: int64 of shape (batch,), into the split; None if the images are consecutive.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatherIndices:
    """A batch as indices into the dataset on the device: which images, and which of their pixels.

    Attributes:
        indices: int32 of shape (batch,), into the training images.
        rows: int32 of shape (batch, height), into the image padded by the plan's crop_padding.
        columns: int32 of shape (batch, width), likewise; they run backwards for a mirrored image.
        labels: int64 of shape (batch,).
    """

    indices: NDArray[np.int32]
    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """The order, size and augmentation of the batches of a split.

    Attributes:
        global_batch_size: Images per batch, over all devices.
        seed: Together with the epoch's number it decides everything random.
        shuffle: Whether the order is random.
        shuffle_buffer: None draws a permutation of all images. Otherwise they pass in their stored
            order through a buffer of this size, and each next image is drawn from it.
        reshuffle: Whether each epoch draws its own order; if not, all have the first epoch's.
        drop_last: Omit the last batch of an epoch if it is smaller than the others.
        flip: Mirror each image left to right with probability 1/2.
        alternate_flips: With flip: draw only in the first epoch, and then mirror each image in
            every second epoch.
        crop_padding: Pad this many black pixels on every side and crop the stored size out of
            the result, at a random position for each image; 0 means no crops.

    Raises:
        DataError: If a number is out of range.
    """

    global_batch_size: int
    seed: int
    shuffle: bool = True
    shuffle_buffer: int | None = None
    reshuffle: bool = True
    drop_last: bool = False
    flip: bool = False
    alternate_flips: bool = False
    crop_padding: int = 0

    def __post_init__(self) -> None:
        for name, lowest in (("global_batch_size", 1), ("seed", 0), ("crop_padding", 0)):
            if (value := getattr(self, name)) < lowest:
                raise DataError(f"{name}={value} must be at least {lowest}.")
        if self.shuffle_buffer is not None and self.shuffle_buffer < 1:
            raise DataError(f"shuffle_buffer={self.shuffle_buffer} must be at least 1.")


def num_batches(plan: BatchPlan, num_images: int) -> int:
    """Number of batches of an epoch over `num_images` images.

    Raises:
        DataError: If it has none.
    """
    full, rest = divmod(num_images, plan.global_batch_size)
    count = full if plan.drop_last or rest == 0 else full + 1
    if count == 0:
        raise DataError(
            f"{num_images} images give no batch of global_batch_size={plan.global_batch_size} "
            f"with drop_last={plan.drop_last}. Choose a smaller batch or more images."
        )
    return count


def epoch_batches(split: Split, plan: BatchPlan, epoch: int, start: int = 0) -> Iterator[Batch]:
    """Yields the batches of one epoch, starting at batch `start`.

    Args:
        split: The images; only one batch of them is copied at a time.
        plan: Their order, batch size and augmentation.
        epoch: Counted from 0.
        start: The first batch, counted from 0; used to continue within an epoch.

    Returns:
        An iterator of batches with images of shape (batch, height, width, 3); each is a copy that
        the caller may change.

    Raises:
        DataError: If there is no such epoch or batch.
    """
    numbers, draws = _numbers(split, plan, epoch, start), _draw_epoch(plan, len(split), epoch)
    return (_make_batch(split, plan, draws, number) for number in numbers)


def epoch_gather_indices(
    split: Split, plan: BatchPlan, epoch: int, start: int = 0
) -> Iterator[GatherIndices]:
    """Yields the batches of epoch_batches() as gather indices into the dataset on the device.

    Raises:
        DataError: If there is no such epoch or batch.
    """
    numbers, draws = _numbers(split, plan, epoch, start), _draw_epoch(plan, len(split), epoch)
    return (_make_gather_indices(split, plan, draws, number) for number in numbers)


def _numbers(split: Split, plan: BatchPlan, epoch: int, start: int) -> range:
    """Indices of the batches from `start` to the end of the epoch."""
    count = num_batches(plan, len(split))
    if epoch < 0 or not 0 <= start <= count:
        raise DataError(f"epoch={epoch} start={start}: an epoch >= 0 has batches 0 to {count - 1}.")
    return range(start, count)


def pick(images: NDArray[np.uint8], indices: GatherIndices, padding: int) -> Batch:
    """Gathers a batch from the dataset by its indices, as a device does.

    Args:
        images: uint8 of shape (num_images, height, width, 3), all training images.
        indices: A result of epoch_gather_indices() for these images.
        padding: The plan's crop_padding, in pixels.

    Returns:
        A batch with images of shape (batch, height, width, 3).
    """
    sides = (padding, padding)
    padded = np.pad(images[indices.indices], ((0, 0), sides, sides, (0, 0)))
    places = np.arange(len(indices))[:, None, None]
    cut: NDArray[np.uint8] = padded[places, indices.rows[:, :, None], indices.columns[:, None, :]]
    return Batch(images=cut, labels=indices.labels)


def eval_batches(split: Split, batch_size: int) -> Iterator[Batch]:
    """Yields all images in stored order, as views that must not be written to.

    Raises:
        DataError: If batch_size is below 1.
    """
    if batch_size < 1:
        raise DataError(f"batch_size={batch_size} must be at least 1.")
    cuts = (slice(first, first + batch_size) for first in range(0, len(split), batch_size))
    return (Batch(images=split.images[cut], labels=split.labels[cut]) for cut in cuts)


def chain_digest(previous: str, batch: Batch | GatherIndices) -> str:
    """Returns sha256 over the previous digest and this batch's bytes, as hex; start with ''.

    Two runs with the same last digest were fed the same bytes in the same order, even if one was
    interrupted and continued. With GatherIndices this holds if the datasets' fingerprints are
    equal.
    """
    if isinstance(batch, GatherIndices):
        arrays: tuple[NDArray[np.generic], ...] = (batch.indices, batch.rows, batch.columns)
    else:
        arrays = (batch.images,)
    digest = hashlib.sha256(previous.encode())
    for array in (*arrays, batch.labels):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class _EpochDraws:
    """The random draws of an epoch, by position in it: each array is (num_images, ...)."""

    order: NDArray[np.int64]
    flips: NDArray[np.bool_]
    offsets: NDArray[np.int64]


def _draw_epoch(plan: BatchPlan, num_images: int, epoch: int) -> _EpochDraws:
    streams = np.random.SeedSequence([plan.seed, epoch]).spawn(3)
    order_rng, flip_rng, offset_rng = (np.random.default_rng(stream) for stream in streams)
    if not plan.reshuffle:
        first_epoch = np.random.SeedSequence([plan.seed, 0]).spawn(3)
        order_rng = np.random.default_rng(first_epoch[0])
    order = _draw_order(plan, num_images, order_rng)
    return _EpochDraws(
        order=order,
        flips=_draw_flips(plan, epoch, order, flip_rng),
        offsets=offset_rng.integers(0, 2 * plan.crop_padding + 1, (num_images, 2)),
    )


def _draw_flips(
    plan: BatchPlan, epoch: int, order: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Whether each image is mirrored, by position in the epoch: shape (num_images,)."""
    if not plan.alternate_flips:
        return rng.integers(0, 2, len(order), dtype=np.uint8).astype(bool)
    first_epoch = np.random.SeedSequence([plan.seed, 0]).spawn(3)
    drawn = np.random.default_rng(first_epoch[1]).integers(0, 2, len(order), dtype=np.uint8)
    flips: NDArray[np.bool_] = (drawn[order] + epoch) % 2 == 1
    return flips


def _draw_order(plan: BatchPlan, num_images: int, rng: np.random.Generator) -> NDArray[np.int64]:
    if not plan.shuffle:
        return np.arange(num_images)
    if plan.shuffle_buffer is None or plan.shuffle_buffer >= num_images:
        return rng.permutation(num_images)
    buffer = np.arange(plan.shuffle_buffer)
    order = np.empty(num_images, np.int64)
    places = rng.integers(0, plan.shuffle_buffer, num_images - plan.shuffle_buffer)
    for number, place in enumerate(places):
        order[number] = buffer[place]
        buffer[place] = number + plan.shuffle_buffer
    order[len(places) :] = rng.permutation(buffer)
    return order


def _make_batch(split: Split, plan: BatchPlan, draws: _EpochDraws, number: int) -> Batch:
    places = slice(number * plan.global_batch_size, (number + 1) * plan.global_batch_size)
    indices = draws.order[places]
    images = split.images[indices]
    if plan.crop_padding:
        images = _pad_and_crop(images, plan.crop_padding, draws.offsets[places])
    if plan.flip:
        flips = draws.flips[places]
        images[flips] = images[flips, :, ::-1]
    return Batch(images=images, labels=split.labels[indices], indices=indices)


def _make_gather_indices(
    split: Split, plan: BatchPlan, draws: _EpochDraws, number: int
) -> GatherIndices:
    places = slice(number * plan.global_batch_size, (number + 1) * plan.global_batch_size)
    indices, offsets = draws.order[places], draws.offsets[places]
    _, height, width, _ = split.images.shape
    rows: NDArray[np.int32] = np.add(offsets[:, :1], np.arange(height), dtype=np.int32)
    columns: NDArray[np.int32] = np.add(offsets[:, 1:], np.arange(width), dtype=np.int32)
    if plan.flip:
        flips = draws.flips[places]
        columns[flips] = columns[flips, ::-1]
    return GatherIndices(
        indices=indices.astype(np.int32), rows=rows, columns=columns, labels=split.labels[indices]
    )


def _pad_and_crop(
    images: NDArray[np.uint8], padding: int, offsets: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Crops (height, width) at each image's (y, x) offset out of the padded images."""
    batch, height, width, channels = images.shape
    padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    # (batch, 2 * padding + 1, 2 * padding + 1, 1, height, width, 3), without copying. A window over
    # the channels too keeps them last: the crops are copied in one piece.
    windows = sliding_window_view(padded, (height, width, channels), (1, 2, 3))
    crops: NDArray[np.uint8] = windows[np.arange(batch), offsets[:, 0], offsets[:, 1], 0]
    return crops
