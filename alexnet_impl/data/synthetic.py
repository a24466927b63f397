"""Synthetic images of any size with learnable labels, for benchmarks and tests."""

import numpy as np

from alexnet_impl.data.dataset import Dataset, Split

_NUM_CLASSES = 10
_PATTERN_SIZE = 4
_NOISE_LEVELS = 128  # noise and pattern take half of 0..255 each, so that their sum fits in uint8


def make_synthetic(
    *, train_images: int = 2_000, test_images: int = 500, image_size: int = 32, seed: int = 0
) -> Dataset:
    """Makes images (num_images, image_size, image_size, 3): a pattern per class plus noise."""
    pattern_rng, train_rng, test_rng = np.random.default_rng(seed).spawn(3)
    shape = (_NUM_CLASSES, _PATTERN_SIZE, _PATTERN_SIZE, 3)
    coarse = pattern_rng.integers(0, 256 - _NOISE_LEVELS, shape, dtype=np.uint8)
    pixels = np.arange(image_size) * _PATTERN_SIZE // image_size
    patterns = coarse[:, pixels][:, :, pixels]  # (10, image_size, image_size, 3)

    def make(num_images: int, rng: np.random.Generator) -> Split:
        labels = np.arange(num_images) % _NUM_CLASSES
        size = (num_images, image_size, image_size, 3)
        images = rng.integers(0, _NOISE_LEVELS, size, dtype=np.uint8)
        for label, pattern in enumerate(patterns):
            images[label::_NUM_CLASSES] += pattern
        return Split(images=images, labels=labels.astype(np.int64))

    return Dataset(
        name="synthetic",
        source=f"Noise over ten coarse patterns, seed {seed}.",
        class_names=tuple(f"pattern{label}" for label in range(_NUM_CLASSES)),
        train=make(train_images, train_rng),
        test=make(test_images, test_rng),
    )
