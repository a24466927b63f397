"""What a model says of a split, and what follows from it: accuracy, intervals, confusion."""

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.data.batches import eval_batches
from alexnet_impl.data.dataset import Split
from alexnet_impl.data.prefetch import prefetch
from alexnet_impl.frameworks import Trainer
from alexnet_impl.stats.accuracy import softmax


def predict_probabilities(
    trainer: Trainer, split: Split, *, batch_size: int, flip: bool
) -> NDArray[np.float64]:
    """Class probabilities of every image.

    Args:
        trainer: Holds the weights.
        split: The images.
        batch_size: How many at once.
        flip: Whether to average the probabilities of an image and its mirror image.

    Returns:
        Shape (num_images, num_classes).
    """
    rows = []
    for batch in prefetch(eval_batches(split, batch_size)):
        probabilities = softmax(trainer.logits(batch.images))
        if flip:
            mirrored = np.ascontiguousarray(batch.images[:, :, ::-1])
            probabilities = (probabilities + softmax(trainer.logits(mirrored))) / 2
        rows.append(probabilities)
    return np.concatenate(rows)


def eval_batch_size(input_size: int) -> int:
    """Images per evaluation batch: 256 up to 64 pixels, fewer above, so that memory stays flat."""
    return max(32, min(256, 256 * 64 * 64 // input_size**2))
