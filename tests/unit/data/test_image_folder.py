import os
import re
import shutil
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_impl.data import image_folder, image_sources
from alexnet_impl.data.image_folder import load_image_folder
from alexnet_impl.errors import AlexNetWarning, DataError

pytestmark = pytest.mark.fast


CLUTTER = "train/cat/Thumbs.db"


def zip_tree(root: Path, target: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(root.rglob("*.*")):
            archive.write(path, prefix + path.relative_to(root).as_posix())
    return target


def levels(split) -> list[int]:
    """The one grey level of each image of the `image_tree`."""
    assert (split.images == split.images[:, :1, :1, :1]).all()
    return split.images[:, 0, 0, 0].tolist()


def save_image(path: Path, width: int, height: int, level: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (level,) * 3).save(path)


def test_folder_gives_images_by_class_and_name(image_tree):
    dataset = load_image_folder(image_tree)
    assert dataset.class_names == ("cat", "dog")
    assert levels(dataset.train) == [0, 10, 20, 30, 40, 50]
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert levels(dataset.test) == [60, 70, 80, 90]
    assert dataset.test.labels.tolist() == [0, 0, 1, 1]
    assert dataset.source == "10 images (png) in 'pets', stored as 8x8."


@pytest.mark.parametrize("prefix", ["", "pets/", "a/b/c/"])
def test_zip_gives_the_same_as_the_folder(image_tree, tmp_path, prefix):
    archive = zip_tree(image_tree, tmp_path / "pets.zip", prefix)
    expected = load_image_folder(image_tree).fingerprint
    assert load_image_folder(archive).fingerprint == expected


def test_folder_may_hold_the_parts_deeper_down(image_tree):
    assert len(load_image_folder(image_tree.parent).train) == 6


def test_val_is_the_test_part_where_there_is_no_test(image_tree):
    (image_tree / "test").rename(image_tree / "val")
    assert levels(load_image_folder(image_tree).test) == [60, 70, 80, 90]


def test_test_is_preferred_to_val(image_tree):
    shutil.copytree(image_tree / "train", image_tree / "val")
    with pytest.warns(AlexNetWarning, match=r"6 images outside of .*, such as 'val/cat/0\.png'"):
        load_image_folder(image_tree)
    assert len(load_image_folder(image_tree).test) == 4


def test_linked_class_folder_is_followed(image_tree, tmp_path):
    (image_tree / "train" / "dog").rename(tmp_path / "elsewhere")
    (image_tree / "train" / "dog").symlink_to(tmp_path / "elsewhere")
    assert len(load_image_folder(image_tree).train) == 6


def test_link_back_to_the_folder_is_not_followed(image_tree):
    (image_tree / "train" / "loop").symlink_to(image_tree)
    assert len(load_image_folder(image_tree).train) == 6


def test_hidden_and_foreign_files_are_left_out(image_tree, encode):
    picture = encode(np.zeros((8, 8, 3), np.uint8))
    for name in ("train/cat/._0.png", "train/.hidden/0.png", "__MACOSX/train/cat/0.png", CLUTTER):
        path = image_tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)
    archive = zip_tree(image_tree, image_tree.parent / "pets.zip")
    for path in (image_tree, archive):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            dataset = load_image_folder(path)
        assert (len(dataset.train), dataset.class_names) == (6, ("cat", "dog"))


def test_zip_entries_that_lead_out_are_left_out(image_tree, tmp_path, encode):
    archive = zip_tree(image_tree, tmp_path / "pets.zip")
    with zipfile.ZipFile(archive, "a") as file:
        for name in ("../train/cat/9.png", "/train/cat/9.png", "train/../train/cat/9.png"):
            file.writestr(name, encode(np.zeros((8, 8, 3), np.uint8)))
    before = sorted(tmp_path.rglob("*.png"))
    assert len(load_image_folder(archive).train) == 6
    assert sorted(tmp_path.rglob("*.png")) == before


def test_images_of_different_sizes_are_fit_to_the_smallest_side(image_tree):
    save_image(image_tree / "train" / "cat" / "wide.png", 20, 6, level=7)
    dataset = load_image_folder(image_tree)
    assert dataset.image_size == (6, 6)
    assert levels(dataset.train) == [0, 10, 20, 7, 30, 40, 50]


def test_images_of_one_oblong_size_are_made_square(tmp_path):
    for part in ("train", "test"):
        save_image(tmp_path / part / "a" / "0.png", 12, 9)
    assert load_image_folder(tmp_path).image_size == (9, 9)


def test_chosen_size_is_at_most_256(tmp_path):
    save_image(tmp_path / "train" / "a" / "0.png", 300, 310)
    save_image(tmp_path / "test" / "a" / "0.png", 300, 300)
    assert load_image_folder(tmp_path).image_size == (256, 256)


def test_square_images_of_one_size_are_kept_as_they_are_at_any_size(tmp_path):
    for part in ("train", "test"):
        save_image(tmp_path / part / "a" / "0.png", 270, 270)
    assert load_image_folder(tmp_path).image_size == (270, 270)


@pytest.mark.parametrize("size", [4, 8, 12])
def test_image_size_is_obeyed(image_tree, size):
    dataset = load_image_folder(image_tree, image_size=size)
    assert dataset.image_size == (size, size)
    assert levels(dataset.train) == [0, 10, 20, 30, 40, 50]


def test_large_images_are_decoded_in_threads_to_the_same_pixels(image_tree, monkeypatch):
    expected = load_image_folder(image_tree).fingerprint
    monkeypatch.setattr(image_folder, "_THREADS_FROM_BYTES", 0)
    monkeypatch.setattr(image_folder, "_DECODER_VERSION", "not in the cache")
    assert load_image_folder(image_tree).fingerprint == expected


@pytest.mark.parametrize("threads_from", [0, 10**9], ids=["threads", "one thread"])
def test_damaged_image_is_named(image_tree, monkeypatch, cache_folder, threads_from):
    monkeypatch.setattr(image_folder, "_THREADS_FROM_BYTES", threads_from)
    damaged = image_tree / "test" / "dog" / "1.png"
    damaged.write_bytes(damaged.read_bytes()[:50])
    with pytest.raises(DataError, match=r"test/dog/1\.png: does not decode"):
        load_image_folder(image_tree)
    assert not cache_folder.exists()


def test_text_file_called_jpg_is_named(image_tree):
    (image_tree / "train" / "cat" / "0.jpg").write_text("no image")
    with pytest.raises(DataError, match=r"train/cat/0\.jpg: not an image"):
        load_image_folder(image_tree)


def test_damaged_zip_entry_is_named(image_tree, tmp_path):
    archive = zip_tree(image_tree, tmp_path / "pets.zip")
    data = bytearray(archive.read_bytes())
    data[data.index(b"IDAT") + 6] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(DataError, match=r"pets\.zip: entry 'test/cat/0\.png' .*CRC"):
        load_image_folder(archive)


def test_truncated_zip_is_refused(image_tree, tmp_path):
    archive = zip_tree(image_tree, tmp_path / "pets.zip")
    data = archive.read_bytes()
    for kept in (len(data) // 2, len(data) - 10):
        archive.write_bytes(data[:kept])
        with pytest.raises(DataError, match="a zip whose end is missing or damaged"):
            load_image_folder(archive)


def test_zip_with_a_damaged_table_is_refused(image_tree, tmp_path):
    archive = zip_tree(image_tree, tmp_path / "pets.zip")
    data = archive.read_bytes()
    archive.write_bytes(data.replace(b"PK\x01\x02", b"PK\x01\x09"))
    with pytest.raises(DataError, match="a zip whose end is missing or damaged"):
        load_image_folder(archive)


def test_file_that_is_no_zip_is_refused(tmp_path):
    path = tmp_path / "pets.zip"
    path.write_text("hello")
    with pytest.raises(DataError, match="neither a folder nor an archive"):
        load_image_folder(path)


def test_folder_without_images_is_refused_and_a_zip_in_it_is_offered(image_tree, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="contains no images; images are expected as train/CLASS"):
        load_image_folder(empty)
    archive = zip_tree(image_tree, empty / "pets.zip")
    with pytest.raises(DataError, match=re.escape(f"Did you mean '{archive}'?")):
        load_image_folder(empty)


def test_images_outside_of_train_are_refused_with_an_example(image_tree):
    with pytest.raises(DataError, match=r"6 images, none of them in train/CLASS/.*'cat/0\.png'"):
        load_image_folder(image_tree / "train")


def test_missing_test_part_is_refused(image_tree):
    shutil.rmtree(image_tree / "test")
    with pytest.raises(DataError, match="no test/ or val/"):
        load_image_folder(image_tree)


@pytest.mark.parametrize("part", ["train", "test"])
def test_class_missing_in_one_part_is_named(image_tree, part):
    shutil.rmtree(image_tree / part / "dog")
    with pytest.raises(DataError, match=f"no images of class 'dog' in {part}/"):
        load_image_folder(image_tree)


def test_link_to_nowhere_is_named(image_tree):
    (image_tree / "train" / "cat" / "9.png").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"train/cat/9\.png: cannot be read \(No such file"):
        load_image_folder(image_tree)


def test_folder_that_cannot_be_read_is_named(image_tree, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)  # a chmod would not stop root
    with pytest.raises(DataError, match=r"pets: cannot be read \(Permission denied\)"):
        load_image_folder(image_tree)


def test_more_memory_than_there_is_is_refused(image_tree):
    with pytest.raises(DataError, match="10 images of 3000000x3000000 need 270,000 GB"):
        load_image_folder(image_tree, image_size=3_000_000)


def zeros_of(path, name, num_bytes):
    """Adds an entry of zeros to a zip."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(num_bytes))


def test_file_too_large_for_an_image_is_refused_before_it_is_unpacked(image_tree, monkeypatch):
    archive = zip_tree(image_tree, image_tree.parent / "pets.zip")
    zeros_of(archive, "train/cat/9.png", 2**21)
    with (image_tree / "train" / "cat" / "9.png").open("wb") as file:
        file.truncate(2**21)
    monkeypatch.setattr(image_sources, "_LARGEST_FILE_BYTES", 2**20)
    for path in (archive, image_tree):
        with pytest.raises(DataError, match=r"9.png has 2,097,152 bytes, and an image has at most"):
            load_image_folder(path)


def test_entry_larger_than_declared_takes_no_memory(tmp_path):
    """16 MB of zeros that are declared as 100 bytes."""
    zeros_of(tmp_path / "bomb.zip", "a.png", 2**24)
    data = (tmp_path / "bomb.zip").read_bytes()
    (tmp_path / "bomb.zip").write_bytes(
        data.replace((2**24).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    )
    source = image_sources.ZipSource(tmp_path / "bomb.zip")
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="CRC"):
            source.read("a.png")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
        source.close()


def test_class_name_that_is_no_text_is_refused(image_tree):
    (image_tree / "train" / "cat").rename(image_tree / "train" / "cat\udcff")
    with pytest.raises(DataError, match=r"the class name 'cat\\udcff' is not UTF-8; rename its"):
        load_image_folder(image_tree)


def test_folder_whose_name_is_no_text_is_read(image_tree):
    path = image_tree.rename(image_tree.with_name("pets\udcff"))
    assert r"'pets\udcff'" in load_image_folder(path).source


def test_source_is_named_also_from_within(image_tree, monkeypatch):
    monkeypatch.chdir(image_tree)
    assert "in 'pets'" in load_image_folder(Path()).source


def test_several_train_folders_are_refused(image_tree):
    shutil.copytree(image_tree, image_tree.parent / "more")
    with pytest.raises(DataError, match=r"several train folders; name one: \['more', 'pets'\]"):
        load_image_folder(image_tree.parent)


def count_decodings(monkeypatch) -> list[str]:
    decoded = []
    decode_image = image_folder.decode_image

    def counting(data, *, where):
        decoded.append(where)
        return decode_image(data, where=where)

    monkeypatch.setattr(image_folder, "decode_image", counting)
    return decoded


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_second_load_decodes_nothing_and_is_equal(image_tree, tmp_path, monkeypatch, kind):
    path = image_tree if kind == "folder" else zip_tree(image_tree, tmp_path / "pets.zip")
    decoded = count_decodings(monkeypatch)
    first = load_image_folder(path)
    assert len(decoded) == 10
    second = load_image_folder(path)
    assert len(decoded) == 10
    assert second.fingerprint == first.fingerprint
    assert (second.name, second.source) == (first.name, first.source)
    assert second.class_names == first.class_names


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_changed_image_is_decoded_again(image_tree, tmp_path, kind):
    def path():
        return image_tree if kind == "folder" else zip_tree(image_tree, tmp_path / "pets.zip")

    load_image_folder(path())
    save_image(image_tree / "train" / "cat" / "0.png", 8, 8, level=200)
    os.utime(image_tree / "train" / "cat" / "0.png", (10**9, 10**9))
    assert levels(load_image_folder(path()).train)[0] == 200


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_folders_of_equal_names_sizes_and_dates_do_not_share_a_cache(tmp_path, kind):
    found = []
    for day, level in (("monday", 10), ("tuesday", 20)):
        root = tmp_path / day / "images"
        for part in ("train", "test"):
            save_image(path := root / part / "a" / "0.bmp", 8, 8, level)
            os.utime(path, (10**9, 10**9))
        path = root if kind == "folder" else zip_tree(root, tmp_path / day / "images.zip")
        found.append(levels(load_image_folder(path).train))
    assert found == [[10], [20]]


def test_other_image_size_does_not_come_from_the_same_cache(image_tree):
    assert load_image_folder(image_tree).image_size == (8, 8)
    assert load_image_folder(image_tree, image_size=4).image_size == (4, 4)
    assert load_image_folder(image_tree).image_size == (8, 8)


def test_loading_warns_of_nothing_when_all_is_well(image_tree):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_image_folder(image_tree)
        load_image_folder(image_tree)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes among files")
def test_pipe_in_place_of_an_image_is_refused_and_not_waited_for(image_tree):
    pipe = image_tree / "train" / "cat" / "pipe.png"
    os.mkfifo(pipe)
    with pytest.raises(DataError, match=f"{pipe}: is a pipe, a socket or a device"):
        load_image_folder(image_tree)
