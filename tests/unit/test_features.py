"""Features of frozen layers, without a framework: how much memory they take."""

import tracemalloc

import numpy as np
import pytest

from alexnet_impl.data.batches import eval_batches
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
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


def test_memory_does_not_grow_with_the_features(tmp_path, monkeypatch):
    monkeypatch.setenv("ALEXNET_CACHE_DIR", str(tmp_path))
    few, many = peak_array_bytes(128), peak_array_bytes(512)
    sizes = sorted(file.stat().st_size for file in tmp_path.rglob("*-train.npy"))
    assert sizes[1] > 512 * 4 * np.prod(CUT.head.input_shape)
    assert many - few < (sizes[1] - sizes[0]) / 10
