"""Evaluates a network: class probabilities of a split's images, loss and accuracy."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.data.batches import eval_batches
from alexnet_impl.data.dataset import Split
from alexnet_impl.data.prefetch import prefetch
from alexnet_impl.frameworks import Trainer
from alexnet_impl.stats.accuracy import mean_cross_entropy, softmax


def predict_probabilities(
    trainer: Trainer,
    split: Split,
    *,
    batch_size: int,
    flip: bool,
    progress: Callable[[int], None] = lambda _: None,
) -> NDArray[np.float64]:
    """Computes the class probabilities of every image.

    Args:
        trainer: The trainer whose weights are evaluated.
        split: Images of shape (num_images, height, width, 3).
        batch_size: Images per batch.
        flip: Whether to average the probabilities of an image and its mirror image.
        progress: Is given the number of images done, after each batch.

    Returns:
        Shape (num_images, num_classes).
    """
    rows: list[NDArray[np.float64]] = []
    for batch in prefetch(eval_batches(split, batch_size)):
        probabilities = softmax(trainer.logits(batch.images))
        if flip:
            mirrored = np.ascontiguousarray(batch.images[:, :, ::-1])
            probabilities = (probabilities + softmax(trainer.logits(mirrored))) / 2
        rows.append(probabilities)
        progress(sum(map(len, rows)))
    return np.concatenate(rows)


def eval_batch_size(input_size: int) -> int:
    """Returns images per batch: 256 up to 64 pixels, fewer above, so that memory does not grow."""
    return max(32, min(256, 256 * 64 * 64 // input_size**2))


def loss_and_accuracy(
    probabilities: NDArray[np.floating], labels: NDArray[np.int64]
) -> tuple[float, float]:
    """Returns mean cross-entropy and top-1 accuracy.

    Args:
        probabilities: Of shape (num_images, num_classes).
        labels: Of shape (num_images,).
    """
    accuracy = float((probabilities.argmax(1) == labels).mean())
    return mean_cross_entropy(probabilities, labels), accuracy
