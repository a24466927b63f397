"""CIFAR-10 from its official archives: found on disk or downloaded, with checksums verified.

Nothing is unpacked: archives are read as a stream. The python version consists of pickles. They
are read only after their published checksum matched, by an unpickler that can create only NumPy
arrays.

References:
    Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009;
    https://www.cs.toronto.edu/~kriz/cifar.html (layout of the records, MD5 of the archives).
    The sums of the single files are those that torchvision (MD5, python version) and
    torchvision-ruby (SHA-256, binary version) check.
"""

import hashlib
import io
import pickle
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.data.cache import cache_dir
from alexnet_impl.data.dataset import Dataset, Split
from alexnet_impl.data.download import RemoteFile, download
from alexnet_impl.data.paths import require_existing
from alexnet_impl.data.progress import Progress, counted, silent
from alexnet_impl.errors import DataError
from alexnet_impl.files import file_digest

CLASS_NAMES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
_URL = "https://www.cs.toronto.edu/~kriz/"
_SIDE = 32
_PIXEL_BYTES = 3 * _SIDE * _SIDE


@dataclass(frozen=True, kw_only=True)
class Release:
    """One of the two published forms of CIFAR-10.

    Attributes:
        archive: File name of the archive.
        archive_sha256: Its checksum.
        folder: The folder in the archive.
        algorithm: Hash algorithm of the files' checksums.
        train_files: File name to checksum, in the order of the training images.
        test_files: File name to checksum.
        images_per_file: Number of images in every file.
        parse: Maps a file's bytes, whose checksum matched, to uint8 pixels of shape
            (num_images, 3 * 32 * 32) and labels of shape (num_images,).
    """

    archive: str
    archive_sha256: str
    folder: str
    algorithm: str
    train_files: dict[str, str]
    test_files: dict[str, str]
    images_per_file: int = 10_000
    parse: Callable[[bytes], tuple[NDArray[np.uint8], NDArray[np.int64]]]

    @property
    def files(self) -> dict[str, str]:
        """Checksums of the training files and then the test file."""
        return self.train_files | self.test_files


def parse_records(data: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Parses the binary version: records of one label byte and 3,072 pixel bytes.

    Returns:
        Pixels of shape (num_images, 3072) and labels of shape (num_images,).
    """
    records = np.frombuffer(data, np.uint8).reshape(-1, 1 + _PIXEL_BYTES)
    return records[:, 1:], records[:, 0].astype(np.int64)


def parse_pickle(data: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Parses the python version: a pickled dict with the arrays `data` and `labels`.

    Returns:
        Pixels of shape (num_images, 3072) and labels of shape (num_images,).
    """
    content = _ArrayUnpickler(io.BytesIO(data), encoding="bytes").load()
    return content[b"data"], np.array(content[b"labels"], np.int64)


BINARY = Release(
    archive="cifar-10-binary.tar.gz",
    archive_sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    folder="cifar-10-batches-bin",
    algorithm="sha256",
    train_files={
        "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    },
    test_files={
        "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"
    },
    parse=parse_records,
)
PYTHON = Release(
    archive="cifar-10-python.tar.gz",
    archive_sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    folder="cifar-10-batches-py",
    algorithm="md5",
    train_files={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    test_files={"test_batch": "40351d587109b95175f43aff81a1287e"},
    parse=parse_pickle,
)
RELEASES = (BINARY, PYTHON)


@dataclass(frozen=True, kw_only=True)
class FoundRelease:
    """A release on disk: its archive, or the folder unpacked from it."""

    release: Release
    path: Path

    def read_files(self) -> Iterator[tuple[str, bytes]]:
        """Yields name and verified content of each file, in stored order.

        Raises:
            DataError: If the archive or a file is not the published one.
        """
        contents = self._read_folder() if self.path.is_dir() else self._read_archive()
        for name, data in contents:
            received = hashlib.new(self.release.algorithm, data).hexdigest()
            if received != self.release.files[name]:
                raise self._damaged_error(name, self.release.algorithm, received, len(data))
            yield name, data

    def _read_folder(self) -> Iterator[tuple[str, bytes]]:
        for name in self.release.files:
            try:
                yield name, (self.path / name).read_bytes()
            except OSError as error:
                raise DataError(
                    f"{self.path / name}: cannot be read ({error.strerror}); unpack "
                    f"{self.release.archive} again, or remove the folder and keep the archive."
                ) from error

    def _read_archive(self) -> Iterator[tuple[str, bytes]]:
        received = file_digest(self.path, "sha256")
        if received != self.release.archive_sha256:
            size = self.path.stat().st_size
            raise self._damaged_error("the archive", "sha256", received, size)
        wanted = {f"{self.release.folder}/{name}": name for name in self.release.files}
        try:
            with tarfile.open(self.path, "r|gz") as archive:
                for member in archive:
                    file = archive.extractfile(member) if member.name in wanted else None
                    if file is not None:
                        yield wanted[member.name], file.read()
        except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
            raise DataError(f"{self.path}: does not unpack ({error}); get it again.") from error

    def _damaged_error(self, what: str, algorithm: str, received: str, size: int) -> DataError:
        return DataError(
            f"{self.path}: {what} is truncated, damaged or not the official one: it has "
            f"{size:,} bytes and {algorithm} {received}, which is not the published one. Remove "
            f"it and get it again from {_URL}{self.release.archive}."
        )


def find_cifar10(data_dir: Path) -> FoundRelease | None:
    """Finds the official files at or in `data_dir`, the binary version first, or None.

    `data_dir` may be an archive under its own name, the folder unpacked from it, or a folder that
    contains one of these.
    """
    for release in RELEASES:
        first_file = next(iter(release.train_files))
        if data_dir.name == release.archive and data_dir.is_file():
            return FoundRelease(release=release, path=data_dir)
        for folder in (data_dir, data_dir / release.folder):
            if (folder / first_file).is_file():
                return FoundRelease(release=release, path=folder)
        if (data_dir / release.archive).is_file():
            return FoundRelease(release=release, path=data_dir / release.archive)
    return None


def load_cifar10(data_dir: Path | None = None, *, progress: Progress = silent) -> Dataset:
    """Loads the 50,000 training and 10,000 test images in their published order.

    `data_dir` holds the official files, now or after a download; None means the cache.

    Raises:
        DataError: If data_dir does not exist, the files are damaged, or the download fails.
    """
    folder = cache_dir() if data_dir is None else require_existing(data_dir)
    found = find_cifar10(folder)
    if found is None:
        if folder.is_file():
            names = " or ".join(release.archive for release in RELEASES)
            raise DataError(f"{folder}: not an official CIFAR-10 archive; they are called {names}.")
        remote = RemoteFile(url=_URL + BINARY.archive, sha256=BINARY.archive_sha256)
        path = download(remote, folder / BINARY.archive, progress=progress)
        found = FoundRelease(release=BINARY, path=path)
    return _read(found, progress)


def _read(found: FoundRelease, progress: Progress) -> Dataset:
    release = found.release
    train = _empty_split(len(release.train_files) * release.images_per_file)
    test = _empty_split(len(release.test_files) * release.images_per_file)
    places = {name: (train, number) for number, name in enumerate(release.train_files)}
    places |= {name: (test, number) for number, name in enumerate(release.test_files)}
    missing = set(places)
    for name, data in counted(found.read_files(), "Reading CIFAR-10", len(places), progress):
        split, number = places[name]
        _fill(split, number, release, data)
        missing.discard(name)
    if missing:
        raise DataError(f"{found.path}: has no {min(missing)} in it; get the archive again.")
    return Dataset(
        name="cifar10",
        source=f"The official CIFAR-10 in '{found.path.resolve().name}', checksums verified.",
        class_names=CLASS_NAMES,
        train=train,
        test=test,
    )


def _empty_split(num_images: int) -> Split:
    return Split(
        images=np.empty((num_images, _SIDE, _SIDE, 3), np.uint8),
        labels=np.empty(num_images, np.int64),
    )


def _fill(split: Split, number: int, release: Release, data: bytes) -> None:
    """Copies one file's images into their place in the split."""
    places = slice(number * release.images_per_file, (number + 1) * release.images_per_file)
    try:
        pixels, labels = release.parse(data)
        # stored as (num_images, 3, height, width)
        planes = pixels.reshape(release.images_per_file, 3, _SIDE, _SIDE)
        split.images[places] = planes.transpose(0, 2, 3, 1)
        split.labels[places] = labels
    except (LookupError, ValueError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(
            f"{release.folder}: a file does not hold {release.images_per_file:,} CIFAR-10 images "
            f"({error}); get {release.archive} again."
        ) from error
    if labels.min() < 0 or labels.max() >= len(CLASS_NAMES):
        raise DataError(
            f"{release.folder}: labels from {labels.min()} to {labels.max()}, but CIFAR-10 has "
            f"{len(CLASS_NAMES)} classes; get {release.archive} again."
        )


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that allows only NumPy arrays and built-in containers."""

    # From an array itself: the function has moved between NumPy's releases.
    _reconstruct = np.empty(0).__reduce__()[0]
    _allowed: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"the pickle wants {module}.{name}, which is not allowed")
        return self._allowed[module, name]
