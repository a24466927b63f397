import numpy as np
import pytest

from alexnet_impl.data.synthetic import make_synthetic

pytestmark = pytest.mark.fast


def test_synthetic_has_the_sizes_asked_for():
    dataset = make_synthetic(train_images=25, test_images=13, image_size=20)
    assert dataset.train.images.shape == (25, 20, 20, 3)
    assert dataset.test.images.shape == (13, 20, 20, 3)
    assert dataset.num_classes == 10
    assert np.bincount(dataset.train.labels).tolist() == [3] * 5 + [2] * 5


def test_synthetic_is_decided_by_its_seed():
    same = [make_synthetic(train_images=20, test_images=10, seed=1) for _ in range(2)]
    other = make_synthetic(train_images=20, test_images=10, seed=2)
    assert same[0].fingerprint == same[1].fingerprint != other.fingerprint


def test_synthetic_images_are_all_different():
    dataset = make_synthetic(train_images=50, test_images=50)
    every = np.concatenate([dataset.train.images, dataset.test.images]).reshape(100, -1)
    assert len(np.unique(every, axis=0)) == 100


def test_synthetic_labels_can_be_learned_from_the_training_images():
    dataset = make_synthetic(train_images=200, test_images=100)
    train, test = (s.images.reshape(len(s), -1) / 255 for s in (dataset.train, dataset.test))
    centres = np.stack([train[dataset.train.labels == label].mean(axis=0) for label in range(10)])
    distances = ((test[:, None] - centres) ** 2).sum(axis=2)
    assert (distances.argmin(axis=1) == dataset.test.labels).mean() > 0.95
