"""A cache of decoded datasets: files written whole or not at all, and verified when read."""

import hashlib
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
from numpy.typing import NDArray
from safetensors import safe_open

from alexnet_impl.data.dataset import Dataset, Split
from alexnet_impl.errors import AlexNetWarning, DataError, require_home
from alexnet_impl.files import replace_whole, save_file
from alexnet_impl.typed_json import parse_json

_SCHEMA_VERSION = "1"


def cache_dir() -> Path:
    """The folder of downloads and decoded images: ALEXNET_CACHE_DIR, or the user's cache.

    Raises:
        DataError: If the home folder is not known.
    """
    chosen = os.environ.get("ALEXNET_CACHE_DIR")
    with require_home("set ALEXNET_CACHE_DIR to the absolute path of a writable folder"):
        return Path(chosen or platformdirs.user_cache_dir("alexnet_impl")).expanduser()


def cached_dataset(key: str, build: Callable[[], Dataset]) -> Dataset:
    """Returns the dataset cached under `key`; otherwise builds and caches it.

    `key` is the digest, as hex, of everything that the result depends on.

    A damaged file is built anew, and a cache that cannot be written is skipped; both with a
    warning. Processes that build the same dataset at once do not interfere: each writes its own
    file and renames it, and the last one stays.
    """
    try:
        path = cache_dir() / f"{key}.safetensors"
    except DataError as error:
        text = f"Decoded images are not cached, and decoded each time. {error}"
        warnings.warn(text, AlexNetWarning, stacklevel=2)
        return build()
    try:
        return read_cache(path, key)
    except DataError as error:
        warnings.warn(f"{error} It is built anew.", AlexNetWarning, stacklevel=2)
    except OSError:
        pass  # not there yet, or a folder that may not be looked into: writing will warn of that
    dataset = build()
    try:
        write_cache(path, dataset, key)
    except OSError as error:
        warnings.warn(
            f"Decoded images cannot be cached in '{path.parent}' ({error}), so they are decoded "
            "each time. Set ALEXNET_CACHE_DIR to a writable folder.",
            AlexNetWarning,
            stacklevel=2,
        )
    return dataset


def read_cache(path: Path, key: str) -> Dataset:
    """Reads the dataset in a cache file and verifies every byte.

    Raises:
        FileNotFoundError: If there is no such file.
        DataError: If it is damaged, or belongs to another key or version.
    """
    if not path.is_file():
        raise FileNotFoundError(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
            train, test = (
                Split(images=file.get_tensor(f"{part}_images"), labels=file.get_tensor(labels))
                for part, labels in (("train", "train_labels"), ("test", "test_labels"))
            )
        dataset = Dataset(
            name=metadata["name"],
            source=metadata["source"],
            class_names=tuple(parse_json(metadata["class_names"])),
            train=train,
            test=test,
        )
        # Built from what was read, so that a changed pixel, label, name or sentence shows.
        is_whole = metadata == _metadata(dataset, key)
    except Exception as error:  # damaged bytes provoke errors of any kind
        raise DataError(f"{path}: the cache file is damaged ({error}).") from error
    if not is_whole:
        raise DataError(f"{path}: the cache file is damaged or not of this version.")
    return dataset


def write_cache(path: Path, dataset: Dataset, key: str) -> None:
    """Writes a dataset without a validation split under its final name in one step.

    Raises:
        OSError: If the folder cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, NDArray[Any]] = {
        "train_images": dataset.train.images,
        "train_labels": dataset.train.labels,
        "test_images": dataset.test.images,
        "test_labels": dataset.test.labels,
    }
    with replace_whole(path) as temporary:
        save_file(tensors, temporary, metadata=_metadata(dataset, key))


def _metadata(dataset: Dataset, key: str) -> dict[str, str]:
    metadata = {
        "schema_version": _SCHEMA_VERSION,
        "key": key,
        "name": dataset.name,
        "source": dataset.source,
        "class_names": json.dumps(dataset.class_names),
        "fingerprint": dataset.fingerprint,
    }
    checksum = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest()
    return metadata | {"checksum": checksum}
