"""What a network learned of five classes helps it with the other five: transfer beats scratch."""

from dataclasses import replace

import pytest
from support.starting import start_run

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset, settle
from alexnet_impl.recipe.named import RECIPES
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.stats.accuracy import difference_interval, top1_accuracy
from alexnet_impl.training.events import ignore_events

pytestmark = pytest.mark.accuracy

FIRST = ("airplane", "automobile", "bird", "cat", "deer")
OTHERS = ("dog", "frog", "horse", "ship", "truck")
RECIPE = replace(RECIPES["speedrun"], precision="float32", eval_flip=False)
DENSE = ("fc1", "fc2", "fc3")
FEW = 100
"""Images of the other classes: with many, a network learns them from scratch as well."""


def train(path, config):
    """The run, and its accuracy on the test images."""
    start_run(path, config, load_dataset(config.data), ignore_events)
    predictions = RunFolder.open(path).read_predictions()
    return top1_accuracy(predictions.predicted, predictions.labels)


def test_transfer_beats_scratch_at_equal_budget(framework_name, data_dir, tmp_path):
    """The same images, steps and recipe; only the weights that it starts from differ."""
    images = settle(DataConfig(data_dir=data_dir, test_images=2000))
    before = RunConfig(
        framework=framework_name,
        variant="cifar",
        width=0.25,
        recipe=replace(RECIPE, epochs=4),
        data=replace(images, classes=FIRST, train_images=6000),
        device="cpu",
    )
    train(tmp_path / "first", before)
    scratch = replace(
        before,
        recipe=replace(RECIPE, epochs=10, global_batch_size=20),
        data=replace(images, classes=OTHERS, train_images=FEW),
    )
    transfer = replace(
        scratch,
        weights=str(tmp_path / "first" / "weights.safetensors"),
        recipe=replace(scratch.recipe, reset_layers=DENSE, trainable=",".join(DENSE)),
    )
    accuracies = [
        train(tmp_path / name, config)
        for name, config in (("transfer", transfer), ("scratch", scratch))
    ]
    low, _ = difference_interval(*accuracies)
    assert low > 0, [str(accuracy) for accuracy in accuracies]
