"""Real Parquet files in the forms of Hugging Face's datasets, read without their library."""

import json
import re
import sys

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.errors import AlexNetWarning, DataError

pytestmark = pytest.mark.fast

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
NAMES = ("airplane", "automobile", "bird")


def features(image, label, names):
    """The metadata that Hugging Face's library writes."""
    info = {image: {"_type": "Image"}, label: {"names": list(names), "_type": "ClassLabel"}}
    return {"huggingface": json.dumps({"info": {"features": info}})}


@pytest.fixture
def write(tmp_path, encode):
    """Writes one shard: an image of each grey level, whose label is the level modulo 3."""

    def write(name, levels, *, image="img", label="label", names=NAMES, mode="RGB", **columns):
        path = tmp_path / "hf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (8, 8, 3) if mode == "RGB" else (8, 8)
        encoded = [encode(np.full(shape, level, np.uint8)) for level in levels]
        table = {
            image: pa.array([{"bytes": b, "path": None} for b in encoded], IMAGE),
            label: pa.array([level % 3 for level in levels], pa.int64()),
        }
        table = pa.table(table | columns)
        pq.write_table(table.replace_schema_metadata(names and features(image, label, names)), path)
        return path.parents[len(name.split("/")) - 1]

    return write


@pytest.fixture
def cifar10(write):
    """plain_text/ with two training shards, a row out of order, and a test shard."""
    write("plain_text/train-00000-of-00002.parquet", [5, 1, 3])
    write("plain_text/train-00001-of-00002.parquet", [7, 8, 9])
    return write("plain_text/test-00000-of-00001.parquet", [20, 21, 22])


def load(path):
    return load_dataset(DataConfig(data_dir=path))


def levels(split):
    return split.images[:, 0, 0, 0].tolist()


def test_shards_are_read_in_stored_order_with_the_names_of_the_classes(cifar10):
    dataset = load(cifar10)
    assert (dataset.name, dataset.class_names) == ("parquet", NAMES)
    assert levels(dataset.train) == [5, 1, 3, 7, 8, 9]
    assert dataset.train.labels.tolist() == [2, 1, 0, 1, 2, 0]
    assert levels(dataset.test) == [20, 21, 22]
    assert dataset.test.labels.tolist() == [2, 0, 1]
    assert dataset.source == "9 images (parquet) in 'hf', stored as 8x8."


def test_fine_labels_of_cifar100_are_taken(write):
    coarse = {"coarse_label": pa.array([0, 0, 0], pa.int64())}
    for part in ("train", "test"):
        folder = write(
            f"cifar100/{part}-00000-of-00001.parquet", [0, 1, 2], label="fine_label", **coarse
        )
    assert load(folder).train.labels.tolist() == [0, 1, 2]


def test_grey_images_without_metadata_have_numbers_for_names(write):
    for part in ("train", "test"):
        folder = write(f"{part}.parquet", [0, 1, 2], image="image", names=None, mode="L")
    dataset = load(folder)
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.train.images.shape == (3, 8, 8, 3)


def test_parts_may_be_folders_and_validation_is_the_test_part_if_there_is_none(write):
    write("default/train/0000.parquet", [0, 1, 2])
    folder = write("default/validation/0000.parquet", [3, 4, 5])
    assert levels(load(folder).test) == [3, 4, 5]


def test_links_of_the_hubs_cache_are_followed(cifar10, tmp_path):
    snapshot = tmp_path / "datasets--uoft-cs--cifar10" / "snapshots" / "0b27" / "plain_text"
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted((cifar10 / "plain_text").iterdir())):
        blob = path.rename(tmp_path / f"blob{number}")
        (snapshot / path.name).symlink_to(blob)
    dataset = load_dataset(DataConfig(data_dir=tmp_path / "datasets--uoft-cs--cifar10"))
    assert levels(dataset.train) == [5, 1, 3, 7, 8, 9]


def test_other_parts_are_named_as_left_out(cifar10, write):
    write("plain_text/validation-00000-of-00001.parquet", [0])
    told = "files of other parts left out: plain_text/validation-00000-of-00001.parquet"
    with pytest.warns(AlexNetWarning, match=re.escape(told)):
        dataset = load(cifar10)
    assert told in dataset.source


def test_reading_changes_nothing_beside_the_files(cifar10):
    def everything():
        return sorted((p, p.stat().st_mtime_ns) for p in cifar10.rglob("*"))

    before = everything()
    for path in (cifar10, cifar10 / "plain_text"):
        path.chmod(0o555)
    load(cifar10)
    assert everything() == before


def test_second_load_needs_no_pyarrow(cifar10, monkeypatch):
    first = load(cifar10)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert load(cifar10).fingerprint == first.fingerprint


def test_missing_pyarrow_is_said_with_the_line_that_installs_it(cifar10, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    told = r"needs pyarrow, which is not installed: pip install 'alexnet_impl\[parquet\]'"
    with pytest.raises(DataError, match=told):
        load(cifar10)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1"])
def test_damaged_file_is_named(cifar10, content):
    path = cifar10 / "plain_text" / "train-00001-of-00002.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{path.name}: is not a Parquet file, or is damaged \("):
        load(cifar10)


def test_single_file_and_missing_part_are_refused(cifar10):
    train = cifar10 / "plain_text" / "train-00000-of-00002.parquet"
    with pytest.raises(DataError, match=r"is one file of a dataset; give its folder, '.*plain_tex"):
        load(train)
    (cifar10 / "plain_text" / "test-00000-of-00001.parquet").unlink()
    with pytest.raises(DataError, match=r"file 'train-00000-of-00002\.parquet', but no test part"):
        load(cifar10)


def test_several_training_parts_are_refused(cifar10, write):
    write("other/train-00000-of-00001.parquet", [0])
    with pytest.raises(DataError, match=r"has several training parts, in \[.*; name one"):
        load(cifar10)


def test_folder_of_images_with_a_table_of_another_kind_is_no_dataset_of_parquet(image_tree, write):
    folder = write("metadata.parquet", [0])
    (folder / "metadata.parquet").rename(image_tree / "metadata.parquet")
    assert load_dataset(DataConfig(data_dir=image_tree)).name == "image_folder"


def test_class_without_images_stops(cifar10, write):
    write("plain_text/test-00000-of-00001.parquet", [21, 22, 21])
    with pytest.raises(DataError, match=r"no images of class 'bird' in test \(1 of 3 classes miss"):
        load(cifar10)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"label": [0, 1, -1]}, r"row 2 of plain_text/test.*the label -1 names none of the 3"),
        ({"label": [0, 1, None]}, r"row 2 of plain_text/test.*the label is None; it must be"),
        ({"label": [0.5, 1.5, 2.5]}, r"the label is 0\.5"),
        ({"img": [b"x", b"y", b"z"]}, r"row 0 of plain_text/test.*: not an image of a known"),
    ],
)
def test_rows_that_cannot_be_used_are_named(cifar10, columns, told):
    path = cifar10 / "plain_text" / "test-00000-of-00001.parquet"
    table = pq.read_table(path)
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    pq.write_table(table, path)
    with pytest.raises(DataError, match=told):
        load(cifar10)


def test_image_that_is_only_a_path_is_refused(cifar10):
    path = cifar10 / "plain_text" / "test-00000-of-00001.parquet"
    rows = pa.array([{"bytes": None, "path": "/data/0.png"}] * 3, IMAGE)
    pq.write_table(pa.table({"img": rows, "label": [0, 1, 2]}), path)
    with pytest.raises(DataError, match=r"row 0 of .* has no image in it, only a path or nothing"):
        load(cifar10)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (
            {"text": ["a"], "label": [0]},
            r"no column of encoded images .*columns are text, label",
        ),
        ({"image": [b"a"], "kind": [0]}, r"has no column of labels .*columns are image, kind"),
        ({"a": [b"a"], "b": [b"b"], "label": [0]}, r"several columns of encoded images .*'a', 'b'"),
    ],
)
def test_missing_or_ambiguous_column_is_refused(cifar10, columns, told):
    path = cifar10 / "plain_text" / "train-00000-of-00002.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(DataError, match=told):
        load(cifar10)


def test_names_as_labels_are_sorted(write):
    for part in ("train", "test"):
        folder = write(f"{part}.parquet", [0, 1, 2], names=None)
        path = folder / f"{part}.parquet"
        table = pq.read_table(path).set_column(1, "label", pa.array(["dog", "cat", "dog"]))
        pq.write_table(table, path)
    dataset = load(folder)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.train.labels.tolist() == [1, 0, 1]
