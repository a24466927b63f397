import json
from pathlib import Path

import pytest

from alexnet_impl.data.data_config import DATASETS, DataConfig
from alexnet_impl.errors import DataError, RecordError, UnknownNameError

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    "config",
    [
        DataConfig(),
        DataConfig(dataset="cifar10", data_dir=Path("a/b"), train_images=10, test_images=5),
        DataConfig(dataset="image_folder", image_size=64),
    ],
    ids=["defaults", "cifar10", "image_folder"],
)
def test_config_survives_json(config):
    assert DataConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("dataset", DATASETS)
def test_config_accepts_every_dataset(dataset):
    assert DataConfig(dataset=dataset).dataset == dataset


def test_config_refuses_an_unknown_dataset_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match=r"'cifar-10'\. Did you mean 'cifar10'\?"):
        DataConfig(dataset="cifar-10")


def test_config_refuses_an_unknown_key():
    with pytest.raises(RecordError, match="Unknown field of DataConfig 'train_size'"):
        DataConfig.from_dict({"train_size": 3})


@pytest.mark.parametrize("name", ["train_images", "test_images", "image_size"])
@pytest.mark.parametrize("value", [0, -5])
def test_config_refuses_numbers_below_one(name, value):
    with pytest.raises(DataError, match=f"{name}={value} must be at least 1"):
        DataConfig(**{name: value})


@pytest.mark.parametrize("dataset", ["digits", "synthetic"])
def test_config_refuses_a_data_dir_that_nothing_would_read(dataset):
    with pytest.raises(DataError, match=f"dataset='{dataset}' reads no files, but data_dir='x'"):
        DataConfig(dataset=dataset, data_dir=Path("x"))


@pytest.mark.parametrize("dataset", ["digits", "cifar10"])
def test_config_refuses_an_image_size_that_nothing_would_use(dataset):
    with pytest.raises(DataError, match="stored as 32x32, but image_size=64"):
        DataConfig(dataset=dataset, image_size=64)
