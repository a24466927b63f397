import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from alexnet_impl.data import loading
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.decoding import decode_image
from alexnet_impl.data.loading import load_dataset, settle
from alexnet_impl.errors import DataError

pytestmark = pytest.mark.fast


def as_rows(split) -> set[bytes]:
    return {image.tobytes() for image in split.images}


def test_default_is_digits():
    dataset = load_dataset(DataConfig())
    assert (dataset.name, len(dataset.train), len(dataset.test)) == ("digits", 1437, 360)
    assert dataset.validation is None


def test_data_dir_alone_is_enough_for_an_image_folder(image_tree):
    assert load_dataset(DataConfig(data_dir=image_tree)).name == "image_folder"


def test_synthetic_is_made_in_the_sizes_asked_for():
    config = DataConfig(dataset="synthetic", train_images=40, test_images=20, image_size=16)
    dataset = load_dataset(config, validation_fraction=0.25)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (30, 10, 20)
    assert dataset.image_size == (16, 16)
    assert len(load_dataset(DataConfig(dataset="synthetic")).train) == 2000


def test_subsets_are_balanced_and_taken_from_their_part():
    whole = load_dataset(DataConfig())
    part = load_dataset(DataConfig(train_images=200, test_images=50))
    assert np.bincount(part.train.labels).tolist() == [20] * 10
    assert np.bincount(part.test.labels).tolist() == [5] * 10
    assert as_rows(part.train) <= as_rows(whole.train)
    assert as_rows(part.test) <= as_rows(whole.test)


def test_validation_split_is_stratified_and_disjoint():
    whole = load_dataset(DataConfig())
    dataset = load_dataset(DataConfig(), validation_fraction=0.1)
    assert (len(dataset.train), len(dataset.validation)) == (1293, 144)
    expected = np.bincount(whole.train.labels) * 144 / 1437
    np.testing.assert_allclose(np.bincount(dataset.validation.labels), expected, atol=1)
    assert not as_rows(dataset.train) & as_rows(dataset.validation)
    assert as_rows(dataset.train) | as_rows(dataset.validation) == as_rows(whole.train)
    assert dataset.test is not None
    assert len(dataset.test) == 360


@pytest.mark.parametrize("split", ["stratified", "last"])
def test_validation_part_is_taken_out_of_the_subset(split):
    config = DataConfig(train_images=200)
    dataset = load_dataset(config, validation_fraction=0.1, validation_split=split)
    assert (len(dataset.train), len(dataset.validation)) == (180, 20)
    assert not as_rows(dataset.train) & as_rows(dataset.validation)
    alone = load_dataset(config)
    assert as_rows(dataset.train) | as_rows(dataset.validation) == as_rows(alone.train)


def test_seed_decides_validation_and_training_subset_but_not_the_test_subset():
    config = DataConfig(train_images=200, test_images=50)
    first, again, other = (
        load_dataset(config, validation_fraction=0.1, seed=seed) for seed in (0, 0, 1)
    )
    assert first.fingerprint == again.fingerprint
    assert as_rows(first.validation) != as_rows(other.validation)
    assert as_rows(first.train) != as_rows(other.train)
    np.testing.assert_array_equal(first.test.images, other.test.images)


@pytest.mark.parametrize(
    "config", [DataConfig(), DataConfig(train_images=1437, test_images=360)], ids=["all", "counted"]
)
def test_images_are_not_copied_where_none_is_left_out(monkeypatch, config):
    whole = load_dataset(DataConfig())
    monkeypatch.setattr(loading, "load_digits", lambda: whole)
    dataset = load_dataset(config)
    assert dataset.train is whole.train
    assert dataset.test is whole.test


@pytest.mark.parametrize(("field", "available"), [("train_images", 1437), ("test_images", 360)])
def test_more_images_than_there_are_is_refused_with_the_number(field, available):
    message = rf"{field}={available + 1} .* {available} images .* at most {available}"
    with pytest.raises(DataError, match=message):
        load_dataset(DataConfig(**{field: available + 1}))


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_impossible_validation_fraction_is_refused(fraction):
    with pytest.raises(DataError, match=f"validation_fraction={fraction} must be in"):
        load_dataset(DataConfig(), validation_fraction=fraction)


def test_negative_seed_is_refused():
    with pytest.raises(DataError, match="seed=-1"):
        load_dataset(DataConfig(), seed=-1)


def test_image_folder_without_data_dir_is_refused():
    with pytest.raises(DataError, match="dataset='image_folder' needs data_dir"):
        load_dataset(DataConfig(dataset="image_folder"))


def test_missing_data_dir_is_refused_with_the_nearest_name(image_tree):
    wrong = image_tree.parent / "pet"
    with pytest.raises(DataError, match=rf"pet: does not exist; .* Did you mean '{image_tree}'\?"):
        load_dataset(DataConfig(data_dir=wrong))


def test_missing_data_dir_names_the_first_part_that_is_missing(tmp_path):
    with pytest.raises(DataError, match="has no 'nowhere'"):
        load_dataset(DataConfig(data_dir=tmp_path / "nowhere" / "a" / "b"))


def test_progress_hears_of_the_decoding(image_tree):
    reports = []
    load_dataset(DataConfig(data_dir=image_tree), progress=lambda *report: reports.append(report))
    assert reports[-1] == ("Decoding images", 10, 10)


def test_import_brings_in_no_framework_and_no_scikit_learn():
    code = (
        "import sys, alexnet_impl.data\n"
        "heavy = {'torch', 'tensorflow', 'keras', 'sklearn', 'rich'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes among files")
def test_pipe_in_place_of_images_or_an_image_is_refused_and_not_waited_for(tmp_path):
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    with pytest.raises(DataError, match="is a pipe or a device; give a folder or an archive"):
        settle(DataConfig(data_dir=pipe))
    for path in (pipe, tmp_path):
        with pytest.raises(DataError, match=f"{path}: is a folder, a pipe or a device"):
            decode_image(path, where=str(path))
