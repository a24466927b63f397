"""The digits dataset: 1,797 real 8x8 images inside scikit-learn, so that no download is needed."""

import numpy as np

from alexnet_impl.data.dataset import Dataset, Split
from alexnet_impl.data.splits import remaining_indices, stratified_indices

_TEST_IMAGES = 360
_REPEAT = 4


def load_digits() -> Dataset:
    """Loads the 8x8 digits as 32x32 RGB: 1,437 to train and 360 to test, always the same.

    References:
        Optical Recognition of Handwritten Digits, UCI repository, its test set of 1,797 images.
    """
    # scikit-learn takes a second to import; only this dataset needs it.
    from sklearn.datasets import load_digits as bundled_digits  # noqa: PLC0415

    bunch = bundled_digits()
    grey = np.rint(bunch.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8) of 0 to 16
    large = grey.repeat(_REPEAT, axis=1).repeat(_REPEAT, axis=2)
    images = np.repeat(large[..., None], 3, axis=3)
    every = Split(images=images, labels=bunch.target.astype(np.int64))
    test = stratified_indices(every.labels, _TEST_IMAGES, np.random.default_rng(0))
    return Dataset(
        name="digits",
        source="scikit-learn's 1,797 8x8 digits, each pixel repeated 4x4.",
        class_names=tuple(str(digit) for digit in range(10)),
        train=every.take(remaining_indices(len(every), test)),
        test=every.take(test),
    )
