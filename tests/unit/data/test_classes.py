"""Keeping only some classes of a dataset."""

import numpy as np
import pytest

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.errors import DataError, UnknownNameError

pytestmark = pytest.mark.fast


def load(*classes):
    return load_dataset(DataConfig(dataset="digits", classes=classes))


def test_classes_are_kept_in_the_order_they_are_named():
    whole, kept = load(), load("7", "2")
    assert kept.class_names == ("7", "2")
    for old, new in ((whole.train, kept.train), (whole.test, kept.test)):
        mine = np.isin(old.labels, (7, 2))
        np.testing.assert_array_equal(new.images, old.images[mine])
        np.testing.assert_array_equal(np.where(new.labels == 0, 7, 2), old.labels[mine])
        assert new.labels.dtype == np.int64


def test_other_classes_are_another_dataset():
    assert load("7", "2").fingerprint != load("2", "7").fingerprint


def test_a_class_that_does_not_exist_is_refused():
    with pytest.raises(UnknownNameError, match="class of digits"):
        load("1", "ten")


def test_a_class_named_twice_is_refused():
    with pytest.raises(DataError, match="twice"):
        DataConfig(classes=("1", "1"))


def test_classes_survive_json():
    config = DataConfig(dataset="digits", classes=("1", "2"))
    assert DataConfig.from_dict({**config.to_dict(), "classes": ["1", "2"]}) == config
