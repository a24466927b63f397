"""CIFAR-10 and CIFAR-100 on disk: found by what files hold, verified, and read as a stream.

Nothing is unpacked, and nothing is written beside the files.
"""

import hashlib
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from alexnet_impl.data.archives import ARCHIVES, ArchiveError, Member, file_kind, members
from alexnet_impl.data.cache import cache_dir
from alexnet_impl.data.cifar import RELEASES, SIDE, URL, Release
from alexnet_impl.data.dataset import Dataset, Split
from alexnet_impl.data.decoding import image_suffixes
from alexnet_impl.data.download import RemoteFile, download
from alexnet_impl.data.paths import near_folders, require_existing
from alexnet_impl.data.progress import Progress, counted, silent
from alexnet_impl.errors import DataError
from alexnet_impl.files import file_digest

_MOST_ARCHIVES = 200
_FIRST_BYTES = 1 << 24  # in the official archives one of the first three members is a batch
_UNFINISHED = frozenset({".part", ".crdownload", ".download", ".tmp"})


@dataclass(frozen=True, kw_only=True)
class FoundRelease:
    """A release on disk: its archive under any name, or the folder unpacked from it."""

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
        try:
            for member in members(self.path):
                if _is_file_of(self.release, member):
                    yield PurePosixPath(member.name).name, member.read()
        except ArchiveError as error:
            size = self.path.stat().st_size
            what = f"the archive ({error})"
            received = file_digest(self.path, "sha256")
            raise self._damaged_error(what, "sha256", received, size) from error

    def _damaged_error(self, what: str, algorithm: str, received: str, size: int) -> DataError:
        return DataError(
            f"{self.path}: {what} is truncated, damaged or not the official one of "
            f"{self.release.title}: it has {size:,} bytes and {algorithm} {received}, which is not "
            f"the published one. Remove it and get it again from {URL}{self.release.archive}."
        )


def find_cifar(data_dir: Path, dataset: str | None = None) -> FoundRelease | None:
    """Finds the official files at or below `data_dir`, or None.

    `data_dir` may be an archive under any name, the folder unpacked from it, or a folder that
    contains one of these, such as the caches of Keras and torchvision.

    Args:
        data_dir: An existing file or folder.
        dataset: 'cifar10' or 'cifar100'; None finds either.

    Raises:
        DataError: If both datasets are found and none was asked for, or data_dir cannot be read.
    """
    try:
        found = [one for one in _find_all(data_dir) if dataset in (None, one.release.dataset)]
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}).") from error
    if len({one.release.dataset for one in found}) > 1:
        titles = " and ".join(f"{one.release.title} ('{one.path}')" for one in _first_each(found))
        raise DataError(f"{data_dir}: holds {titles}; choose with --dataset cifar10 or cifar100.")
    return min(found, key=lambda one: RELEASES.index(one.release), default=None)


def _first_each(found: list[FoundRelease]) -> list[FoundRelease]:
    """The first that was found of each dataset."""
    return list({one.release.dataset: one for one in reversed(found)}.values())


def _find_all(data_dir: Path) -> Iterator[FoundRelease]:
    """Yields what is found: folders before archives, near ones before deep ones."""
    if data_dir.is_file():
        if release := _release_in_archive(data_dir):
            yield FoundRelease(release=release, path=data_dir)
        return
    archives = []
    for folder, names in near_folders(data_dir):
        for release in RELEASES:
            if _is_unpacked(release, folder, names):
                yield FoundRelease(release=release, path=folder)
        archives += [folder / name for name in sorted(names) if _may_be_archive(name)]
    archives.sort(key=lambda path: "cifar" not in path.name.lower())
    for path in archives[:_MOST_ARCHIVES]:
        if release := _release_in_archive(path):
            yield FoundRelease(release=release, path=path)


def _is_unpacked(release: Release, folder: Path, names: set[str]) -> bool:
    """Whether a folder with files of these names holds the files of a release."""
    if not release.marker:
        return next(iter(release.train_files)) in names
    named = folder.name == release.folder or release.marker in names
    return named and names.issuperset(release.files)


def _may_be_archive(name: str) -> bool:
    """Whether a file's name does not say that it is something else."""
    suffix = Path(name).suffix.lower()
    return suffix not in _UNFINISHED and suffix not in image_suffixes()


def _release_in_archive(path: Path) -> Release | None:
    """The release that an archive holds by its first members; where it is damaged, by its name."""
    named = next((release for release in RELEASES if release.archive == path.name), None)
    try:
        if file_kind(path) not in ARCHIVES:
            return named
        passed = 0
        for member in members(path):
            for release in RELEASES:
                if _is_file_of(release, member):
                    return release
            passed += member.size
            if passed > _FIRST_BYTES:  # to go on, it would be unpacked
                break
    except (ArchiveError, OSError):
        pass
    return named


def _is_file_of(release: Release, member: Member) -> bool:
    """Whether a member of an archive is one of the release's files."""
    path = PurePosixPath(member.name)
    in_place = not release.marker or path.parent.name == release.folder
    is_file = not (member.link or member.name.endswith("/"))
    return in_place and path.name in release.files and is_file


def load_cifar(
    dataset: str, data_dir: Path | None = None, *, progress: Progress = silent
) -> Dataset:
    """Loads the 50,000 training and 10,000 test images in their published order.

    Args:
        dataset: 'cifar10' or 'cifar100'.
        data_dir: Holds the official files, now or after a download; None means the cache.
        progress: Receives the progress of reading and downloading.

    Raises:
        DataError: If data_dir does not exist, the files are damaged, or the download fails.
    """
    folder = cache_dir() if data_dir is None else require_existing(data_dir)
    found = find_cifar(folder, dataset) if folder.exists() else None
    if found is None:
        release = next(release for release in RELEASES if release.dataset == dataset)
        if folder.is_file():
            raise DataError(
                f"{folder}: not an official archive of {release.title}; get it from "
                f"{URL}{release.archive}."
            )
        remote = RemoteFile(url=URL + release.archive, sha256=release.archive_sha256)
        path = download(remote, folder / release.archive, progress=progress)
        found = FoundRelease(release=release, path=path)
    return _read(found, progress)


def _read(found: FoundRelease, progress: Progress) -> Dataset:
    release = found.release
    train, test = _empty_split(release.num_train), _empty_split(release.num_test)
    places = _places(train, release.train_files) | _places(test, release.test_files)
    contents = counted(found.read_files(), f"Reading {release.title}", len(places), progress)
    missing = set(places)
    for name, data in contents:
        _fill(places[name], release, data)
        missing.discard(name)
    if missing:
        raise DataError(f"{found.path}: has no {min(missing)} in it; get the archive again.")
    return Dataset(
        name=release.dataset,
        source=f"The official {release.title} in '{found.path.resolve().name}', checksums "
        "verified.",
        class_names=release.class_names,
        train=train,
        test=test,
    )


def _empty_split(num_images: int) -> Split:
    return Split(
        images=np.empty((num_images, SIDE, SIDE, 3), np.uint8),
        labels=np.empty(num_images, np.int64),
    )


def _places(split: Split, files: dict[str, str]) -> dict[str, Split]:
    """The part of the split that each file's images fill."""
    size = len(split) // len(files)
    return {
        name: Split(
            images=split.images[number * size : (number + 1) * size],
            labels=split.labels[number * size : (number + 1) * size],
        )
        for number, name in enumerate(files)
    }


def _fill(place: Split, release: Release, data: bytes) -> None:
    """Copies one file's images into their place."""
    try:
        pixels, labels = release.parse(data)
        # stored as (num_images, 3, height, width)
        planes = pixels.reshape(len(place), 3, SIDE, SIDE)
        place.images[:] = planes.transpose(0, 2, 3, 1)
        place.labels[:] = labels
    except (LookupError, ValueError, TypeError, pickle.UnpicklingError) as error:
        raise DataError(
            f"{release.folder}: a file does not hold {len(place):,} {release.title} images "
            f"({error}); get {release.archive} again."
        ) from error
    num_classes = len(release.class_names)
    if labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(
            f"{release.folder}: labels from {labels.min()} to {labels.max()}, but {release.title} "
            f"has {num_classes} classes; get {release.archive} again."
        )
