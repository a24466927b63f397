import numpy as np
import pytest
from sklearn.datasets import load_digits as bundled_digits

from alexnet_impl.data.digits import load_digits

pytestmark = pytest.mark.fast


def test_digits_are_split_into_1437_and_360_from_every_class():
    dataset = load_digits()
    assert dataset.train.images.shape == (1437, 32, 32, 3)
    assert dataset.test.images.shape == (360, 32, 32, 3)
    assert dataset.class_names == tuple("0123456789")
    counts = np.bincount(dataset.test.labels)
    np.testing.assert_allclose(counts, np.bincount(dataset.train.labels) * 360 / 1437, atol=1)


def test_digits_are_scikit_learns_each_pixel_repeated():
    dataset = load_digits()
    every = np.concatenate([dataset.train.images, dataset.test.images])
    small = every[:, ::4, ::4, 0]
    np.testing.assert_array_equal(every, small.repeat(4, 1).repeat(4, 2)[..., None].repeat(3, 3))
    original = np.rint(bundled_digits().images * 255 / 16).astype(np.uint8)
    assert small.max() == 255
    assert sorted(map(bytes, small)) == sorted(map(bytes, original))


def test_digits_are_the_same_every_time():
    assert (
        load_digits().fingerprint
        == load_digits().fingerprint
        == "be7b6b94d13ee77a94aed83a3727f911c5f0c742f480954eb823e6dc250ea85a"
    )
