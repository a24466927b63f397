"""Which files of a folder or an archive become images, with which labels, and what is left out."""

import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.decoding import image_formats, image_suffixes
from alexnet_impl.data.image_folder import load_image_folder
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.errors import AlexNetWarning, DataError

pytestmark = pytest.mark.fast

SAVED = [
    *("png", "jpg", "jpeg", "jfif", "jpe", "tif", "tiff", "ppm", "pgm", "bmp", "dib", "gif"),
    *("webp", "tga", "ico", "jp2", "pcx", "sgi", "qoi", "mpo", "PNG"),
]


@pytest.mark.parametrize("suffix", SAVED)
def test_every_suffix_that_pillow_decodes_counts(image_tree, suffix):
    kind = "JPEG2000" if suffix == "jp2" else Image.registered_extensions()[f".{suffix.lower()}"]
    image = Image.new("RGB", (32, 32), (90, 90, 90))
    options = {"quality": 100} if kind == "JPEG" else {}
    image.save(image_tree / "train" / "cat" / f"9.{suffix}", kind, **options)
    dataset = load_image_folder(image_tree, image_size=8)
    assert len(dataset.train) == 7
    assert abs(dataset.train.images[3].astype(int) - 90).max() <= 1


def test_no_suffix_counts_whose_format_runs_a_program_or_does_not_decode():
    refused = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG", "PDF", "PALM"}
    assert not refused & set(image_formats())
    assert not {".eps", ".ps", ".h5", ".mpg", ".pdf", ".txt", ".csv", ".zip"} & image_suffixes()


def test_files_that_are_no_images_are_counted_and_named(image_tree):
    for name in ("a.heic", "b.heic", "c.txt"):
        (image_tree / "train" / "dog" / name).write_bytes(b"x")
    (image_tree / "README.md").write_text("no part of a class")
    told = (
        r"3 files left out: 3 that Pillow does not decode \(\.heic, \.txt\), such as 'train/dog/a"
    )
    with pytest.warns(AlexNetWarning, match=rf"pets: {told}"):
        dataset = load_image_folder(image_tree)
    assert len(dataset.train) == 6
    assert dataset.source.startswith("10 images (png) in 'pets', stored as 8x8; 3 files left out")
    assert load_image_folder(image_tree).source == dataset.source


@pytest.mark.parametrize("part", ["train", "test"])
def test_class_without_an_image_that_can_be_read_stops(image_tree, part):
    for path in (image_tree / part / "dog").iterdir():
        path.rename(path.with_suffix(".heic"))
    count = {"train": 3, "test": 2}[part]
    told = rf"no images of class 'dog' in {part}/ \(1 of 2 classes missing\); it has {count} other"
    with pytest.raises(DataError, match=rf"{told} files \(\.heic\), such as .*convert them to PNG"):
        load_image_folder(image_tree)


def test_class_without_images_in_either_part_stops(image_tree):
    """Before, the third class vanished without a word."""
    for part in ("train", "test"):
        (image_tree / part / "cow").mkdir()
    with pytest.raises(DataError, match=r"'cow' in test/ .* whose folder is missing or empty"):
        load_image_folder(image_tree)
    archive = image_tree.parent / "pets.zip"
    shutil.make_archive(str(archive.with_suffix("")), "zip", image_tree)
    with zipfile.ZipFile(archive) as file:
        assert "train/cow/" in file.namelist()
    with pytest.raises(DataError, match=r"'cow' in test/ .* whose folder is missing or empty"):
        load_image_folder(archive)


def test_images_deeper_in_the_folder_of_a_class_belong_to_it(image_tree):
    before = load_image_folder(image_tree).fingerprint
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            folder = image_tree / part / name
            folder.rename(image_tree / "images")
            folder.mkdir()
            (image_tree / "images").rename(folder / "images")
    assert load_image_folder(image_tree).fingerprint == before


# Kaggle's table of labels


NUM_LABELLED = 30


@pytest.fixture
def kaggle(tmp_path, encode):
    """train/ with 30 labelled images of three classes, whose grey level is their number; test/."""
    root = tmp_path / "kaggle"
    for part in ("train", "test"):
        (root / part).mkdir(parents=True)
    lines = ["id,label"]
    for number in range(NUM_LABELLED):
        pixels = np.full((8, 8, 3), number, np.uint8)
        (root / "train" / f"{number}.png").write_bytes(encode(pixels))
        lines.append(f"{number},{('frog', 'truck', 'deer')[number % 3]}")
    (root / "test" / "1.png").write_bytes(encode(np.full((8, 8, 3), 255, np.uint8)))
    (root / "trainLabels.csv").write_text("\n".join(lines) + "\n")
    return root


def by_level(split):
    """Label by the grey level of each image."""
    levels = split.images[:, 0, 0, 0].tolist()
    return dict(zip(levels, split.labels.tolist(), strict=True))


@pytest.mark.filterwarnings("ignore::alexnet_impl.errors.AlexNetWarning")
def test_kaggles_images_get_the_labels_of_the_table(kaggle):
    dataset = load_dataset(DataConfig(data_dir=kaggle))
    assert dataset.class_names == ("deer", "frog", "truck")
    assert (len(dataset.train), len(dataset.test)) == (24, 6)
    expected = {number: (1, 2, 0)[number % 3] for number in range(NUM_LABELLED)}
    assert by_level(dataset.train) | by_level(dataset.test) == expected
    assert list(by_level(dataset.train)) == sorted(by_level(dataset.train))


@pytest.mark.filterwarnings("ignore::alexnet_impl.errors.AlexNetWarning")
def test_held_out_share_is_balanced_stated_and_always_the_same(kaggle):
    dataset = load_image_folder(kaggle)
    assert np.bincount(dataset.test.labels).tolist() == [2, 2, 2]
    assert sorted(by_level(dataset.test)) == [3, 8, 9, 10, 13, 29]
    told = (
        "6 of the 30 images with a label in trainLabels.csv are held out as the test part: one in 5"
    )
    assert told in dataset.source
    lines = (kaggle / "trainLabels.csv").read_text().splitlines()
    (kaggle / "trainLabels.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]))
    assert by_level(load_image_folder(kaggle).test) == by_level(dataset.test)


def test_kaggles_test_images_are_counted_as_left_out(kaggle):
    (kaggle / "train" / "notes.txt").write_text("no image")
    told = (
        r"2 files left out: 1 that Pillow does not decode \(\.txt\), such as 'train/notes\.txt'; "
        r"1 image outside of trainLabels\.csv, without a label, such as 'test/1"
    )
    with pytest.warns(AlexNetWarning, match=told):
        load_image_folder(kaggle)


@pytest.mark.filterwarnings("ignore::alexnet_impl.errors.AlexNetWarning")
def test_kaggles_images_are_found_in_a_zip_and_unpacked_once_more(kaggle):
    expected = load_image_folder(kaggle).fingerprint
    (kaggle / "train").rename(kaggle / "inner")
    (kaggle / "train").mkdir()
    (kaggle / "inner").rename(kaggle / "train" / "train")
    assert load_image_folder(kaggle).fingerprint == expected
    shutil.make_archive(str(kaggle.parent / "k"), "zip", kaggle)
    assert load_image_folder(kaggle.parent / "k.zip").fingerprint == expected


def test_table_without_its_images_is_refused(kaggle):
    shutil.rmtree(kaggle / "train")
    (kaggle / "train.7z").write_bytes(b"7z\xbc\xaf\x27\x1c")
    with pytest.raises(DataError, match=r"trainLabels\.csv: 30 of its 30 .*train\.7z\) beside the"):
        load_image_folder(kaggle)


def test_table_with_an_image_that_is_missing_names_it(kaggle):
    (kaggle / "train" / "7.png").unlink()
    with pytest.raises(DataError, match=r"1 of its 30 images are not in train/, such as '7'"):
        load_image_folder(kaggle)


def test_first_row_of_a_table_without_a_head_is_no_head_if_its_image_is_missing(kaggle):
    table = kaggle / "trainLabels.csv"
    table.write_text(table.read_text().removeprefix("id,label\n"))
    (kaggle / "train" / "0.png").unlink()
    with pytest.raises(DataError, match=r"1 of its 30 images are not in train/, such as '0'"):
        load_image_folder(kaggle)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("3,deer,frog", r"line 32 has the cells \['3', 'deer', 'frog'\]; every line must be"),
        ("3,", r"line 32 has the cells \['3', ''\]"),
        ("3,deer", "line 32 names '3' again"),
        ('"3', "is not a table of names and labels"),
        ("30,bat", "class 'bat' has one image; it needs two or more"),
    ],
)
def test_damaged_table_of_labels_is_refused(kaggle, encode, line, told):
    (kaggle / "train" / "30.png").write_bytes(encode(np.zeros((8, 8, 3), np.uint8)))
    with (kaggle / "trainLabels.csv").open("a") as file:
        file.write(line)
    with pytest.raises(DataError, match=rf"trainLabels\.csv: {told}"):
        load_image_folder(kaggle)


def test_two_images_for_one_label_are_refused(kaggle, encode):
    (kaggle / "train" / "7.bmp").write_bytes(encode(np.zeros((8, 8, 3), np.uint8), "BMP"))
    with pytest.raises(DataError, match=r"'train/7\.bmp' and 'train/7\.png' both belong to"):
        load_image_folder(kaggle)


def test_several_tables_of_labels_are_refused(kaggle):
    shutil.copy(kaggle / "trainLabels.csv", kaggle / "labels.csv")
    with pytest.raises(DataError, match="has several tables of labels"):
        load_image_folder(kaggle)
