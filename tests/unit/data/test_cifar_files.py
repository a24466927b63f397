import hashlib
import io
import os
import pickle
import struct
import tarfile
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from alexnet_impl.data import archives, cifar, cifar_files
from alexnet_impl.data.cifar import parse_pickle
from alexnet_impl.data.cifar_files import find_cifar
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset, settle
from alexnet_impl.data.paths import near_folders
from alexnet_impl.errors import DataError

pytestmark = pytest.mark.fast

NAMES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
IMAGES_PER_FILE = 12
load_cifar10 = partial(cifar_files.load_cifar, "cifar10")


def make_images() -> tuple[np.ndarray, np.ndarray]:
    """Six files' images, (6, 12, 3 * 32 * 32), and labels, (6, 12)."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, IMAGES_PER_FILE, 3072), dtype=np.uint8)
    return images, rng.integers(0, 10, (6, IMAGES_PER_FILE))


def as_records(images, labels) -> bytes:
    return np.concatenate([labels[:, None].astype(np.uint8), images], axis=1).tobytes()


def as_python2_pickle(images, labels, key=b"labels") -> bytes:
    """What Python 2's cPickle and its NumPy wrote, protocol 2; opcode by opcode."""

    def short(text: bytes) -> bytes:
        return b"U" + bytes([len(text)]) + text

    content = images.tobytes()
    dtype = b"cnumpy\ndtype\n" + short(b"u1") + b"K\x00K\x01\x87R"
    dtype += b"(K\x03" + short(b"|") + b"NNN" + b"J\xff\xff\xff\xff" * 2 + b"K\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + short(b"b")
    array += b"\x87R(K\x01" + b"".join(b"M" + struct.pack("<H", n) for n in images.shape)
    array += b"\x86" + dtype + b"\x89T" + struct.pack("<I", len(content)) + content + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + short(b"data") + array + short(key) + numbers + b"u."


def digests(algorithm: str, contents: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.new(algorithm, data).hexdigest() for name, data in contents.items()}


def pack(path: Path, folder: str, contents: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz", compresslevel=0) as archive:
        # As in the official ones: other files too, and not in the order of the names.
        for name, data in [("readme.html", b"<p>"), *reversed(contents.items())]:
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def put_on_disk(root: Path, release: cifar.Release, contents: dict[str, bytes]) -> cifar.Release:
    """Archive and folder, and the release with their sums."""
    folder = root / release.folder
    folder.mkdir(parents=True)
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    archive = root / release.archive
    pack(archive, release.folder, contents)
    if release.marker:
        (folder / release.marker).write_bytes(b"")
    sums = digests(release.algorithm, contents)
    test_name = list(contents)[-1]
    return replace(
        release,
        archive_sha256=hashlib.sha256(archive.read_bytes()).hexdigest(),
        train_files={name: sums[name] for name in list(contents)[:-1]},
        test_files={test_name: sums[test_name]},
        num_train=IMAGES_PER_FILE * (len(contents) - 1),
        num_test=IMAGES_PER_FILE,
    )


@pytest.fixture
def official(tmp_path, monkeypatch) -> Path:
    """A folder with small stand-ins for both archives and both folders, and their sums known."""
    root = tmp_path / "official"
    images, labels = make_images()
    parts = list(zip(NAMES, images, labels, strict=True))
    binary = {f"{name}.bin": as_records(*part) for name, *part in parts}
    python = {name: as_python2_pickle(*part) for name, *part in parts}
    releases = (
        put_on_disk(root, cifar.CIFAR10_BINARY, binary),
        put_on_disk(root, cifar.CIFAR10_PYTHON, python),
    )
    monkeypatch.setattr(cifar_files, "RELEASES", releases + cifar.RELEASES[2:])
    return root


@pytest.fixture
def official100(tmp_path, monkeypatch) -> Path:
    """The same of CIFAR-100: a training and a test file, with a coarse label of 1 everywhere."""
    root = tmp_path / "official100"
    images, labels = make_images()
    coarse = np.ones((IMAGES_PER_FILE, 1), np.uint8)
    binary, python = {}, {}
    for name, pixels, fine in zip(("train", "test"), images[:2], labels[:2] + 90, strict=True):
        records = np.concatenate([coarse, fine[:, None].astype(np.uint8), pixels], axis=1)
        binary[f"{name}.bin"] = records.tobytes()
        python[name] = as_python2_pickle(pixels, fine, b"fine_labels")
    releases = (
        put_on_disk(root, cifar.CIFAR100_BINARY, binary),
        put_on_disk(root, cifar.CIFAR100_PYTHON, python),
    )
    monkeypatch.setattr(cifar_files, "RELEASES", cifar.RELEASES[:2] + releases)
    return root


def keep_only(root: Path, name: str) -> Path:
    """A new folder with only this archive or folder in it."""
    target = root.parent / "only"
    target.mkdir()
    (root / name).rename(target / name)
    return target


FORMS = [
    "cifar-10-batches-bin",
    "cifar-10-binary.tar.gz",
    "cifar-10-python.tar.gz",
    "cifar-10-batches-py",
]


@pytest.mark.parametrize("itself", [False, True], ids=["in a folder", "itself"])
@pytest.mark.parametrize("form", FORMS)
def test_cifar10_is_found_and_read_in_every_form(official, form, itself):
    folder = keep_only(official, form)
    dataset = load_dataset(DataConfig(data_dir=folder / form if itself else folder))
    images, labels = make_images()
    assert dataset.name == "cifar10"
    assert dataset.class_names[3] == "cat"
    assert form in dataset.source
    pixels = images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(dataset.train.images, pixels[: 5 * IMAGES_PER_FILE])
    np.testing.assert_array_equal(dataset.test.images, pixels[5 * IMAGES_PER_FILE :])
    np.testing.assert_array_equal(dataset.train.labels, labels[:5].ravel())
    np.testing.assert_array_equal(dataset.test.labels, labels[5])


def test_cifar10_is_looked_for_in_the_cache_folder(official, cache_folder):
    official.rename(cache_folder)
    assert load_dataset(DataConfig(dataset="cifar10")).name == "cifar10"


def test_published_releases_are_complete():
    for release in cifar.RELEASES:
        assert len(release.archive_sha256) == 64
        assert (release.num_train, release.num_test) == (50_000, 10_000)
        assert release.num_train % len(release.train_files) == 0
        lengths = {len(checksum) for checksum in release.files.values()}
        assert lengths == {hashlib.new(release.algorithm).digest_size * 2}
    assert [len(release.files) for release in cifar.RELEASES] == [6, 6, 2, 2]
    assert len(set(cifar.CIFAR100_CLASSES)) == 100
    assert sorted(cifar.CIFAR100_CLASSES) == list(cifar.CIFAR100_CLASSES)


FORMS_100 = [
    "cifar-100-binary",
    "cifar-100-binary.tar.gz",
    "cifar-100-python.tar.gz",
    "cifar-100-python",
]


@pytest.mark.parametrize("itself", [False, True], ids=["in a folder", "itself"])
@pytest.mark.parametrize("form", FORMS_100)
def test_cifar100_is_read_in_every_form_with_its_fine_labels(official100, form, itself):
    folder = keep_only(official100, form)
    dataset = load_dataset(DataConfig(data_dir=folder / form if itself else folder))
    images, labels = make_images()
    assert (dataset.name, dataset.num_classes) == ("cifar100", 100)
    pixels = images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(dataset.train.images, pixels[:IMAGES_PER_FILE])
    np.testing.assert_array_equal(dataset.test.images, pixels[IMAGES_PER_FILE:][:IMAGES_PER_FILE])
    np.testing.assert_array_equal(dataset.train.labels, labels[0] + 90)
    np.testing.assert_array_equal(dataset.test.labels, labels[1] + 90)


def test_classes_of_cifar100_can_be_chosen(official100):
    names = ("wolf", "trout")
    dataset = load_dataset(DataConfig(data_dir=official100, classes=names))
    assert dataset.class_names == names
    assert 0 < len(dataset.train) < IMAGES_PER_FILE
    assert set(dataset.train.labels.tolist()) <= {0, 1}


def test_damaged_cifar100_is_called_by_its_name(official100):
    folder = keep_only(official100, FORMS_100[3])
    for name in ("train", "test", "meta"):
        (folder / FORMS_100[3] / name).write_bytes(b"")
    with pytest.raises(
        DataError, match=r"train is truncated.* official one of CIFAR-100: it has 0"
    ):
        load_dataset(DataConfig(data_dir=folder))


def test_folders_of_images_called_train_and_test_are_no_cifar100(tmp_path):
    for name in ("train", "test"):
        (tmp_path / name).write_text("a list of files")
    assert find_cifar(tmp_path) is None


def test_folder_with_both_datasets_asks_which(official, official100):
    official.rename(official100 / "more")
    with pytest.raises(DataError, match=r"holds CIFAR-10 .* and CIFAR-100 .*--dataset cifar10 or"):
        load_dataset(DataConfig(data_dir=official100))
    assert load_dataset(DataConfig(dataset="cifar100", data_dir=official100)).name == "cifar100"


def test_class_folders_at_the_path_itself_come_before_cifar_below_it(official, image_tree):
    official.rename(image_tree / "downloads")
    assert load_dataset(DataConfig(data_dir=image_tree)).name == "image_folder"
    assert load_dataset(DataConfig(dataset="cifar10", data_dir=image_tree)).name == "cifar10"


@pytest.mark.parametrize(("table", "dataset"), [("labels.csv", "image_folder"), ("a", "cifar10")])
def test_label_table_at_the_path_itself_comes_before_cifar_below_it(official, table, dataset):
    (official / "train").mkdir()
    (official / "train" / "1.png").touch()
    (official / table).touch()
    assert settle(DataConfig(data_dir=official)).dataset == dataset


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes among files")
def test_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "cifar-pipe")
    assert [names for _, names in near_folders(tmp_path)] == [set()]
    assert find_cifar(tmp_path) is None


KERAS = [
    ("cifar-10-batches-py", "datasets/cifar-10-batches-py"),
    ("cifar-10-python.tar.gz", "datasets/cifar-10-batches-py.tar.gz"),
    ("cifar-10-python.tar.gz", "datasets/cifar-10-batches-py-target_archive"),
    ("cifar-10-batches-py", "datasets/cifar-10-batches-py-target/cifar-10-batches-py"),
    ("cifar-10-batches-py", "datasets/cifar-10-batches-py-target_extracted/cifar-10-batches-py"),
    ("cifar-10-python.tar.gz", "datasets/cifar-10-python (1).tar.gz"),
    ("cifar-10-binary.tar.gz", "datasets/download"),
]


@pytest.mark.parametrize(("form", "place"), KERAS, ids=[place for _, place in KERAS])
def test_cifar10_is_found_where_others_have_put_it(official, tmp_path, form, place):
    home = tmp_path / ".keras"
    (home / place).parent.mkdir(parents=True)
    (official / form).rename(home / place)
    (home / "datasets" / "mnist.npz").write_bytes(b"PK\x03\x04")
    (home / "keras.json").write_text("{}")
    for path in (home, home / "datasets", home / place):
        assert load_dataset(DataConfig(data_dir=path)).name == "cifar10"


def test_archive_packed_again_is_verified_file_by_file(official, tmp_path):
    folder = official / FORMS[3]
    with tarfile.open(tmp_path / "mine.tar", "w") as tar:
        tar.add(folder, "./data/" + FORMS[3])
    with zipfile.ZipFile(tmp_path / "mine.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.iterdir():
            archive.write(path, f"{FORMS[3]}/{path.name}")
    for name in ("mine.tar", "mine.zip"):
        dataset = load_dataset(DataConfig(data_dir=tmp_path / name))
        assert len(dataset.test) == IMAGES_PER_FILE
        assert name in dataset.source


def test_archive_of_a_download_that_runs_is_not_taken(official):
    folder = keep_only(official, FORMS[1])
    (folder / FORMS[1]).rename(folder / f"{FORMS[1]}.part")
    assert find_cifar(folder) is None


def test_large_archives_of_others_are_not_unpacked_to_look_for_cifar(official, monkeypatch):
    folder = keep_only(official, FORMS[3])
    monkeypatch.setattr(cifar_files, "_FIRST_BYTES", 100)
    with tarfile.open(folder / "large.tgz", "w:gz") as tar:
        tar.add(folder / FORMS[3] / "data_batch_1", "somebody_elses_data")
        tar.add(folder / FORMS[3], FORMS[3])
    assert find_cifar(folder / "large.tgz") is None
    monkeypatch.setattr(cifar_files, "_FIRST_BYTES", 10**9)
    assert find_cifar(folder / "large.tgz") is not None


def test_archive_is_found_among_many_other_files(official):
    folder = keep_only(official, FORMS[1])
    for number in range(300):
        (folder / f"a{number}.tgz").write_bytes(b"\x1f\x8b")
    assert find_cifar(folder) is not None


def everything_in(folder: Path) -> list:
    return sorted((str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*"))


@pytest.mark.parametrize("form", FORMS)
def test_reading_changes_nothing_in_the_folder(official, form):
    folder = keep_only(official, form)
    before = everything_in(folder)
    for path in (folder, folder / form):
        path.chmod(0o555 if path.is_dir() else 0o444)
        load_dataset(DataConfig(data_dir=path))
    folder.chmod(0o755)
    assert everything_in(folder) == before


def test_folder_that_cannot_be_listed_is_named(official, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)  # a chmod would not stop root
    with pytest.raises(DataError, match=r"official: cannot be read \(Permission denied\)"):
        find_cifar(official)


def test_member_that_claims_more_than_is_allowed_takes_no_memory(official, monkeypatch):
    monkeypatch.setattr(archives, "MOST_MEMBER_BYTES", 20_000)
    with pytest.raises(DataError, match=r"the archive \(a file of 36,876 bytes, and 20,000 are"):
        load_cifar10(official / FORMS[1])


@pytest.mark.parametrize("form", [form for form in FORMS if form.endswith(".gz")])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_truncated_archive_is_refused(official, form, share):
    folder = keep_only(official, form)
    data = (folder / form).read_bytes()
    (folder / form).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(
        DataError, match=rf"{form}: the archive \(.*\) is truncated, damaged.*Remove it"
    ):
        load_cifar10(folder)


@pytest.mark.parametrize(
    "name", ["cifar-10-batches-bin/data_batch_3.bin", FORMS[3] + "/test_batch"]
)
def test_changed_file_in_a_folder_is_refused_by_name(official, name):
    form, file = name.split("/")
    folder = keep_only(official, form)
    data = bytearray((folder / name).read_bytes())
    data[500] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(DataError, match=f"{file} is truncated, damaged or not the official one"):
        load_cifar10(folder)


def test_missing_file_in_a_folder_is_named(official):
    folder = keep_only(official, FORMS[0])
    (folder / FORMS[0] / "data_batch_4.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_4\.bin: cannot be read .*unpack"):
        load_cifar10(folder)


def trust(monkeypatch, **changes) -> None:
    """Publish other facts about the binary release."""
    release = replace(cifar_files.RELEASES[0], **changes)
    monkeypatch.setattr(cifar_files, "RELEASES", (release, *cifar_files.RELEASES[1:]))


def test_archive_without_one_of_its_files_is_refused(official):
    folder = keep_only(official, FORMS[1])
    images, labels = make_images()
    contents = {f"{NAMES[0]}.bin": as_records(images[0], labels[0])}
    pack(folder / FORMS[1], FORMS[0], contents)
    with pytest.raises(DataError, match=r"has no data_batch_2\.bin in it"):
        load_cifar10(folder)


@pytest.mark.parametrize("content", [b"no gzip at all", b"<!DOCTYPE html><html>404</html>"])
def test_archive_of_an_official_name_that_is_none_is_refused(official, content):
    path = keep_only(official, FORMS[1]) / FORMS[1]
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"is truncated, damaged .*Remove it and get it again"):
        load_dataset(DataConfig(data_dir=path))


def test_other_number_of_images_than_published_is_refused(official, monkeypatch):
    folder = keep_only(official, FORMS[0])
    trust(monkeypatch, num_train=50_000)
    with pytest.raises(DataError, match="does not hold 10,000 CIFAR-10 images"):
        load_cifar10(folder)


def test_label_out_of_range_is_refused(official, monkeypatch):
    folder = keep_only(official, FORMS[0])
    path = folder / FORMS[0] / "data_batch_1.bin"
    data = b"\x0b" + path.read_bytes()[1:]
    path.write_bytes(data)
    train_files = cifar_files.RELEASES[0].train_files | digests("sha256", {path.name: data})
    trust(monkeypatch, train_files=train_files)
    with pytest.raises(DataError, match="labels from 0 to 11, but CIFAR-10 has 10 classes"):
        load_cifar10(folder)


class Bomb:
    """A pickle of it creates a file when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def test_code_in_a_pickle_does_not_run_even_with_the_right_checksum(
    official, tmp_path, monkeypatch
):
    folder = keep_only(official, FORMS[3])
    bomb = tmp_path / "exploded"
    data = pickle.dumps({b"data": Bomb(bomb), b"labels": []})
    (folder / FORMS[3] / "data_batch_1").write_bytes(data)
    with pytest.raises(DataError, match="data_batch_1 is truncated, damaged or not the official"):
        load_cifar10(folder)

    python = cifar_files.RELEASES[1]
    train_files = python.train_files | digests("md5", {"data_batch_1": data})
    trusted = replace(python, train_files=train_files)
    monkeypatch.setattr(cifar_files, "RELEASES", (cifar_files.RELEASES[0], trusted))
    with pytest.raises(DataError, match=r"the pickle wants .* not allowed"):
        load_cifar10(folder)
    assert not bomb.exists()
    pickle.loads(data)  # noqa: S301 - the bomb is a real one
    assert bomb.exists()


@pytest.mark.parametrize("source", [b"cos\nsystem\n(S'true'\ntR.", b"cbuiltins\neval\n(S'1'\ntR."])
def test_unpickler_admits_nothing_but_arrays(source):
    with pytest.raises(pickle.UnpicklingError, match="not allowed"):
        parse_pickle(source)


@pytest.mark.parametrize("protocol", [3, 4])
def test_unpickler_reads_what_todays_numpy_writes(protocol):
    images, labels = make_images()
    content = {b"data": images[0], b"labels": labels[0].tolist()}
    pixels, numbers = parse_pickle(pickle.dumps(content, protocol))
    np.testing.assert_array_equal(pixels, images[0])
    np.testing.assert_array_equal(numbers, labels[0])


def test_other_file_is_refused_as_cifar10(tmp_path):
    path = tmp_path / "other.tar.gz"
    path.write_bytes(b"x")
    assert find_cifar(path) is None
    with pytest.raises(DataError, match=r"not an official archive of CIFAR-10; .*10-binary\.tar"):
        load_cifar10(path)


def test_missing_cifar10_is_downloaded_once_and_read(official, monkeypatch, cache_folder):
    asked = []

    def copy_instead(remote, path, **_):
        asked.append((remote.url, remote.sha256))
        path.parent.mkdir()
        path.write_bytes((official / FORMS[1]).read_bytes())
        return path

    monkeypatch.setattr(cifar_files, "download", copy_instead)
    for _ in range(2):
        assert len(load_dataset(DataConfig(dataset="cifar10")).train) == 5 * IMAGES_PER_FILE
    url = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    assert asked == [(url, cifar_files.RELEASES[0].archive_sha256)]
    assert (cache_folder / FORMS[1]).is_file()


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (b")K\x00a.", "no attribute 'append'"),  # a number appended to a tuple
        (b"\x8e" + b"\xff" * 7 + b"\x7f.", "damaged"),  # 8 EiB of bytes announced
        (b"", "EOFError"),
    ],
    ids=["opcode", "length", "empty"],
)
def test_damaged_pickle_is_said_to_be_damaged(damaged, reason):
    with pytest.raises(pickle.UnpicklingError, match=reason):
        parse_pickle(damaged)


def test_pixels_that_are_no_array_are_refused():
    pixels, _ = parse_pickle(pickle.dumps({b"data": [[1, 2]], b"labels": [0]}))
    assert pixels.shape == (1, 2)
