"""Features of frozen layers, without a framework: how much memory they take."""

import errno
import os
import tracemalloc

import numpy as np
import pytest
from support.leftovers import write_leftover

from alexnet_impl.data.batches import eval_batches
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.errors import AlexNetWarning, RunError
from alexnet_impl.network.variants import build_spec
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.training.features import compute_features, cut_network
from alexnet_impl.training.feeding import training_batches

pytestmark = pytest.mark.fast

RECIPE = Recipe(trainable="conv2,fc3", global_batch_size=16)
CUT = cut_network(build_spec("torchvision", width=0.0625), RECIPE)
"""Images of 224 pixels after the first convolution."""


class Ones:
    """A trainer whose layers give ones."""

    def features(self, images, layer):
        assert layer == CUT.layer
        return np.ones((len(images), *CUT.head.input_shape), np.float32)


def peak_array_bytes(num_images):
    """Most memory that arrays take while features are computed, trained on and evaluated."""
    data = DataConfig(
        dataset="synthetic", image_size=8, train_images=num_images, test_images=num_images
    )
    dataset = load_dataset(data)
    tracemalloc.start()
    try:
        features = compute_features(Ones(), CUT, dataset, f"{num_images:032}")
        for batch in training_batches(dataset.train, RECIPE, epoch=0):
            assert features.batch(batch).images.all()
        for batch in eval_batches(features.of(dataset.test, dataset), 64):
            assert batch.images.all()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


DATA = load_dataset(DataConfig(dataset="synthetic", image_size=8, train_images=10, test_images=10))


class Numbers(Ones):
    """A trainer whose layers give 0, 1, 2 ..., and that counts its calls."""

    calls = 0

    def features(self, images, layer):
        self.calls += 1
        ones = super().features(images, layer)
        return np.arange(ones.size, dtype=np.float32).reshape(ones.shape)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ALEXNET_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


def test_features_are_computed_once(cache):
    trainer = Numbers()
    for _ in range(2):
        train = compute_features(trainer, CUT, DATA, "0" * 32).train.images
        assert train.ravel().tolist() == list(range(train.size))
    assert trainer.calls == 2  # one for each split
    assert len(list(cache.iterdir())) == 2


def test_space_of_a_killed_writer_is_free_at_the_next_start(cache):
    """Whatever is cached for that one already."""
    compute_features(Numbers(), CUT, DATA, "0" * 32)
    leftover = write_leftover(cache / f"{'1' * 32}-train.npy")
    compute_features(Numbers(), CUT, DATA, "0" * 32)
    assert not leftover.exists()


def test_damaged_cache_of_features_is_computed_anew(cache):
    trainer = Numbers()
    compute_features(trainer, CUT, DATA, "0" * 32)
    whole = (cache / f"{'0' * 32}-train.npy").read_bytes()
    for number, damaged in enumerate([b"", b"text", whole[:-1], whole[10:], b"PK\3\4"]):
        (cache / f"{'0' * 32}-train.npy").write_bytes(damaged)
        compute_features(trainer, CUT, DATA, "0" * 32)
        assert trainer.calls == 3 + number
        assert (cache / f"{'0' * 32}-train.npy").read_bytes() == whole


def test_full_disk_is_noticed_before_features_are_computed(cache, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    trainer = Numbers()
    with pytest.raises(
        RunError, match=r"of one split take .* MB \(No space left on device\); free"
    ):
        compute_features(trainer, CUT, DATA, "0" * 32)
    assert (trainer.calls, list(cache.iterdir())) == (0, [])


def test_unwritable_cache_of_features_is_done_without(cache):
    cache.parent.write_text("a file where the folder should be")
    with pytest.warns(AlexNetWarning, match="cannot be cached in .*Set ALEXNET_CACHE_DIR"):
        train = compute_features(Numbers(), CUT, DATA, "0" * 32).train.images
    assert train.ravel().tolist() == list(range(train.size))


def test_memory_does_not_grow_with_the_features(tmp_path, monkeypatch):
    monkeypatch.setenv("ALEXNET_CACHE_DIR", str(tmp_path))
    few, many = peak_array_bytes(128), peak_array_bytes(512)
    sizes = sorted(file.stat().st_size for file in tmp_path.rglob("*-train.npy"))
    assert sizes[1] > 512 * 4 * np.prod(CUT.head.input_shape)
    assert many - few < (sizes[1] - sizes[0]) / 10
