import hashlib
import io
import pickle
import struct
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alexnet_impl.data import cifar10
from alexnet_impl.data.cifar10 import find_cifar10, load_cifar10, parse_pickle
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.errors import DataError

pytestmark = pytest.mark.fast

NAMES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
IMAGES_PER_FILE = 12


def make_images() -> tuple[np.ndarray, np.ndarray]:
    """Six files' images, (6, 12, 3 * 32 * 32), and labels, (6, 12)."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, IMAGES_PER_FILE, 3072), dtype=np.uint8)
    return images, rng.integers(0, 10, (6, IMAGES_PER_FILE))


def as_records(images, labels) -> bytes:
    return np.concatenate([labels[:, None].astype(np.uint8), images], axis=1).tobytes()


def as_python2_pickle(images, labels) -> bytes:
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
    return b"\x80\x02}(" + short(b"data") + array + short(b"labels") + numbers + b"u."


def digests(algorithm: str, contents: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.new(algorithm, data).hexdigest() for name, data in contents.items()}


def pack(path: Path, folder: str, contents: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        # As in the official ones: other files too, and not in the order of the names.
        for name, data in [("readme.html", b"<p>"), *reversed(contents.items())]:
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def put_on_disk(root: Path, release: cifar10.Release, contents: dict[str, bytes]):
    """Archive and folder, and the release with their sums."""
    folder = root / release.folder
    folder.mkdir(parents=True)
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    archive = root / release.archive
    pack(archive, release.folder, contents)
    sums = digests(release.algorithm, contents)
    test_name = list(contents)[-1]
    return replace(
        release,
        archive_sha256=hashlib.sha256(archive.read_bytes()).hexdigest(),
        train_files={name: sums[name] for name in list(contents)[:-1]},
        test_files={test_name: sums[test_name]},
        images_per_file=IMAGES_PER_FILE,
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
        put_on_disk(root, cifar10.BINARY, binary),
        put_on_disk(root, cifar10.PYTHON, python),
    )
    monkeypatch.setattr(cifar10, "RELEASES", releases)
    monkeypatch.setattr(cifar10, "BINARY", releases[0])
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
    for release in (cifar10.BINARY, cifar10.PYTHON):
        assert len(release.archive_sha256) == 64
        assert (len(release.train_files), len(release.test_files)) == (5, 1)
        assert release.images_per_file == 10_000
        lengths = {len(checksum) for checksum in release.files.values()}
        assert lengths == {hashlib.new(release.algorithm).digest_size * 2}


@pytest.mark.parametrize("form", [form for form in FORMS if form.endswith(".gz")])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_truncated_archive_is_refused(official, form, share):
    folder = keep_only(official, form)
    data = (folder / form).read_bytes()
    (folder / form).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=f"{form}: the archive is truncated, damaged.*Remove it"):
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
    release = replace(cifar10.RELEASES[0], **changes)
    monkeypatch.setattr(cifar10, "RELEASES", (release, cifar10.RELEASES[1]))


def trust_archive(monkeypatch, path: Path, **changes) -> None:
    trust(monkeypatch, archive_sha256=hashlib.sha256(path.read_bytes()).hexdigest(), **changes)


def test_archive_without_one_of_its_files_is_refused(official, monkeypatch):
    folder = keep_only(official, FORMS[1])
    images, labels = make_images()
    contents = {f"{NAMES[0]}.bin": as_records(images[0], labels[0])}
    pack(folder / FORMS[1], FORMS[0], contents)
    trust_archive(monkeypatch, folder / FORMS[1])
    with pytest.raises(DataError, match=r"has no data_batch_2\.bin in it"):
        load_cifar10(folder)


def test_archive_that_does_not_unpack_is_refused(official, monkeypatch):
    folder = keep_only(official, FORMS[1])
    path = folder / FORMS[1]
    for damaged in (path.read_bytes()[:5_000], b"no gzip at all"):
        path.write_bytes(damaged)
        trust_archive(monkeypatch, path)
        with pytest.raises(DataError, match="does not unpack"):
            load_cifar10(folder)


def test_other_number_of_images_than_published_is_refused(official, monkeypatch):
    folder = keep_only(official, FORMS[0])
    trust(monkeypatch, images_per_file=10_000)
    with pytest.raises(DataError, match="does not hold 10,000 CIFAR-10 images"):
        load_cifar10(folder)


def test_label_out_of_range_is_refused(official, monkeypatch):
    folder = keep_only(official, FORMS[0])
    path = folder / FORMS[0] / "data_batch_1.bin"
    data = b"\x0b" + path.read_bytes()[1:]
    path.write_bytes(data)
    train_files = cifar10.RELEASES[0].train_files | digests("sha256", {path.name: data})
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

    python = cifar10.RELEASES[1]
    train_files = python.train_files | digests("md5", {"data_batch_1": data})
    trusted = replace(python, train_files=train_files)
    monkeypatch.setattr(cifar10, "RELEASES", (cifar10.RELEASES[0], trusted))
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
    assert find_cifar10(path) is None
    with pytest.raises(
        DataError, match=r"not an official CIFAR-10 archive; .*cifar-10-binary\.tar"
    ):
        load_cifar10(path)


def test_missing_cifar10_is_downloaded_once_and_read(official, monkeypatch, cache_folder):
    asked = []

    def copy_instead(remote, path, **_):
        asked.append((remote.url, remote.sha256))
        path.parent.mkdir()
        path.write_bytes((official / FORMS[1]).read_bytes())
        return path

    monkeypatch.setattr(cifar10, "download", copy_instead)
    for _ in range(2):
        assert len(load_dataset(DataConfig(dataset="cifar10")).train) == 5 * IMAGES_PER_FILE
    url = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    assert asked == [(url, cifar10.BINARY.archive_sha256)]
    assert (cache_folder / FORMS[1]).is_file()
