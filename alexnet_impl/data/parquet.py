"""A dataset in Hugging Face's Parquet files: encoded images and labels in columns, in shards.

Its files are found and hashed without pyarrow; only reading them needs it, once, since the decoded
images are cached.

References:
    https://huggingface.co/docs/hub/datasets-image (columns),
    https://huggingface.co/docs/hub/datasets-file-names-and-splits (names of the parts).
"""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from alexnet_impl.data.archives import file_kind
from alexnet_impl.data.listing import ListedPart, Listing
from alexnet_impl.data.paths import near_folders
from alexnet_impl.errors import DataError
from alexnet_impl.files import file_digest

_SUFFIX = ".parquet"
_PART = re.compile(r"(?:^|[-_.])(train|test|validation|valid|val)(?=[-_.]|$)")
_BYTES = re.compile(r"(large_)?binary|struct<(.*, )?bytes: (large_)?binary")
_TEST_PARTS = ("test", "validation", "valid", "val")
_IMAGE_COLUMNS = ("image", "img")
_LABEL_COLUMNS = ("label", "labels", "fine_label")  # of CIFAR-100's two, the fine one
_ROWS_AT_ONCE = 500
_EXPECTED = "expected are train-*.parquet and test-*.parquet, as in a dataset's folder"

Value = int | str
"""A label as it is stored: a number or a text."""


@dataclass(frozen=True, kw_only=True)
class Shards:
    """The Parquet files of a dataset.

    Attributes:
        train: Of the training images, in the order of their names.
        test: Of the test images.
        left_out: Files of other parts.
    """

    train: tuple[Path, ...]
    test: tuple[Path, ...]
    left_out: tuple[Path, ...]


def is_parquet(data_dir: Path) -> bool:
    """Whether a path is a Parquet file, or a folder with those of a training part.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        if data_dir.is_file():
            return data_dir.suffix.lower() == _SUFFIX or file_kind(data_dir) == "parquet"
        return any(part == "train" for _, part, _ in _parts(data_dir))
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}).") from error


def find_shards(data_dir: Path) -> Shards:
    """Finds the files of both parts in a folder.

    Raises:
        DataError: If a part is missing, or there are several training parts.
    """
    if data_dir.is_file():
        raise DataError(
            f"{data_dir}: is one file of a dataset; give its folder, '{data_dir.parent}': "
            f"{_EXPECTED}."
        )
    found: dict[Path, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for folder, part, path in _parts(data_dir):
        found[folder][part].append(path)
    with_train = [folder for folder, parts in found.items() if "train" in parts]
    if len(with_train) != 1:
        several = f"several training parts, in {[str(folder) for folder in with_train]}; name one"
        problem = several if with_train else f"no training part; {_EXPECTED}"
        raise DataError(f"{data_dir}: has {problem}.")
    parts = found[with_train[0]]
    test = next((part for part in _TEST_PARTS if part in parts), None)
    if test is None:
        name = parts["train"][0].name
        raise DataError(
            f"{data_dir}: has the Parquet file '{name}', but no test part; {_EXPECTED}."
        )
    others = [
        path for part, paths in parts.items() if part not in ("train", test) for path in paths
    ]
    return Shards(train=tuple(parts["train"]), test=tuple(parts[test]), left_out=tuple(others))


def _parts(root: Path) -> Iterator[tuple[Path, str, Path]]:
    """Yields the folder of the dataset, the part and the path of each Parquet file."""
    for folder, names in near_folders(root):
        for name in sorted(names):
            stem, dot, suffix = name.rpartition(".")
            if f"{dot}{suffix}".lower() != _SUFFIX or name.startswith("."):
                continue
            if named := _PART.search(stem):
                yield folder, named[1], folder / name
            elif folder.name in ("train", *_TEST_PARTS):
                yield folder.parent, folder.name, folder / name


@dataclass(kw_only=True)
class _Rows:
    """The rows of one part that were read so far.

    Attributes:
        names: A name for each row: its file and number.
        labels: The values as they are stored.
    """

    names: list[str] = field(default_factory=list)
    labels: list[Value] = field(default_factory=list)


class ParquetSource:
    """The encoded images in the Parquet files of a dataset, held in memory; see ImageSource.

    The folder has train-*.parquet and test-*.parquet (otherwise validation-*.parquet), perhaps
    inside other folders.
    """

    dataset = "parquet"
    dead_links = ()

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: dict[str, int] = {}
        self._contents: dict[str, bytes] = {}

    @cached_property
    def shards(self) -> Shards:
        """The files; see find_shards()."""
        return find_shards(self.path)

    @property
    def digest(self) -> str:
        """sha256 over the files' names and contents.

        Raises:
            DataError: If a part is missing, or a file cannot be read.
        """
        digest = hashlib.sha256()
        for path in (*self.shards.train, *self.shards.test, *self.shards.left_out):
            try:
                content = file_digest(path, "sha256") if path not in self.shards.left_out else ""
            except OSError as error:
                raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
            digest.update(f"{self._name(path)}\0{content}\0".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def read(self, path: str) -> bytes:
        """Returns the encoded image, after listing()."""
        return self._contents[path]

    def close(self) -> None:
        """Does nothing: no file is open."""

    def listing(self) -> Listing:
        """Reads the files: the images of both parts with their labels, in stored order.

        Raises:
            DataError: If a part, a column or a class is missing, pyarrow is not installed, a file
                is damaged, or an image or a label cannot be used.
        """
        class_names: tuple[str, ...] = ()
        parts = {"train": _Rows(), "test": _Rows()}
        for part, paths in (("train", self.shards.train), ("test", self.shards.test)):
            for path in paths:
                class_names = self._read(path, parts[part]) or class_names
        stored = [value for rows in parts.values() for value in rows.labels]
        values = range(len(class_names)) if class_names else sorted(set(stored), key=_order)
        numbers: dict[Value, int] = {value: place for place, value in enumerate(values)}
        names = class_names or tuple(map(str, values))
        train, test = (self._part(part, rows, numbers, names) for part, rows in parts.items())
        others = [self._name(path) for path in self.shards.left_out]
        left_out = f"files of other parts left out: {', '.join(others)}" if others else ""
        return Listing(class_names=names, train=train, test=test, left_out=left_out)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()

    def _part(
        self, part: str, rows: _Rows, numbers: Mapping[Value, int], names: Sequence[str]
    ) -> ListedPart:
        """The images of one part with the numbers of their classes."""
        for name, value in zip(rows.names, rows.labels, strict=True):
            if value not in numbers:
                raise DataError(
                    f"{self.path}: {name}: the label {value!r} names none of the {len(names)} "
                    "classes (-1 means that there is none); give files with labels."
                )
        labels = np.array([numbers[value] for value in rows.labels], np.int64)
        missing = np.setdiff1d(np.arange(len(names)), labels)
        if len(missing):
            raise DataError(
                f"{self.path}: no images of class '{names[missing[0]]}' in {part} "
                f"({len(missing)} of {len(names)} classes missing); both parts need every class."
            )
        return ListedPart(paths=rows.names, labels=labels)

    def _read(self, path: Path, rows: _Rows) -> tuple[str, ...]:
        """Appends a file's rows; returns the names of the classes, if the file has them."""
        with _opened(path) as file:
            features = _features(file.schema_arrow.metadata)
            image = _image_column(file.schema_arrow, features, path)
            label = _label_column(file.schema_arrow, features, path)
            first = len(rows.names)
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=[image, label]):
                self._check_memory(path, batch.nbytes)
                images, labels = (batch.column(name).to_pylist() for name in (image, label))
                for content, value in zip(images, labels, strict=True):
                    name = f"row {len(rows.names) - first} of {self._name(path)}"
                    where = f"{self.path}: {name}"
                    self._contents[name] = encoded = _encoded(content, where)
                    self.files[name] = len(encoded)
                    rows.names.append(name)
                    rows.labels.append(_checked_label(value, where))
            names = features.get(label, {}).get("names")
            return tuple(map(str, names)) if isinstance(names, list) else ()

    def _check_memory(self, path: Path, num_bytes: int) -> None:
        available = psutil.virtual_memory().available
        if num_bytes > available // 2:
            raise DataError(
                f"{path}: its images do not fit into memory, of which {available / 1e9:,.1f} GB "
                "are available; take fewer files."
            )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A Parquet file of pyarrow's.

    Raises:
        DataError: If pyarrow is not installed, or the file is damaged.
    """
    try:
        from pyarrow import ArrowException  # noqa: PLC0415 - an extra
        from pyarrow.parquet import ParquetFile  # noqa: PLC0415
    except ImportError as error:
        raise DataError(
            f"{path}: reading Parquet files needs pyarrow, which is not installed: pip install "
            "'alexnet_impl[parquet]'"
        ) from error
    try:
        with ParquetFile(path) as file:
            yield file
    except (ArrowException, OSError, ValueError, KeyError) as error:
        if isinstance(error, DataError):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path}: is not a Parquet file, or is damaged ({reason:.200}); get it again."
        ) from error


def _features(metadata: Mapping[bytes, bytes] | None) -> dict[str, dict[str, Any]]:
    """Returns Hugging Face's notes on each column; empty for files of other writers."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {name: one for name, one in features.items() if isinstance(one, dict)}
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        return {}


def _image_column(schema: Any, features: Mapping[str, Mapping[str, Any]], path: Path) -> str:
    """The column of encoded images."""
    told = [name for name in schema.names if features.get(name, {}).get("_type") == "Image"]
    by_type = [
        one.name for one in schema if re.match(r"(large_)?binary|struct<.*bytes:", str(one.type))
    ]
    return _chosen(told or by_type, _IMAGE_COLUMNS, "encoded images (binary 'bytes')", schema, path)


def _label_column(schema: Any, features: Mapping[str, Mapping[str, Any]], path: Path) -> str:
    """The column of labels."""
    named = [name for name in _LABEL_COLUMNS if name in schema.names]
    told = [name for name in schema.names if features.get(name, {}).get("_type") == "ClassLabel"]
    return _chosen(named or told, _LABEL_COLUMNS, "labels ('label')", schema, path)


def _chosen(
    candidates: Sequence[str], preferred: Sequence[str], what: str, schema: Any, path: Path
) -> str:
    usual = [name for name in preferred if name in candidates]
    if usual or len(candidates) == 1:
        return [*usual, *candidates][0]
    problem = f"several columns of {what}: {candidates}" if candidates else f"no column of {what}"
    raise DataError(f"{path}: has {problem}; its columns are {', '.join(schema.names)}.")


def _encoded(content: Any, where: str) -> bytes:
    """The bytes of an image, which is a struct of bytes and path, or the bytes themselves."""
    content = content.get("bytes") if isinstance(content, dict) else content
    if isinstance(content, bytes):
        return content
    raise DataError(
        f"{where}: has no image in it, only a path or nothing; write the files with the images "
        "embedded."
    )


def _checked_label(value: Any, where: str) -> Value:
    if isinstance(value, int | str) and not isinstance(value, bool):
        return value
    raise DataError(f"{where}: the label is {value!r:.100}; it must be a number or a name.")


def _order(value: Value) -> tuple[bool, Value]:
    """Numbers before texts, which do not compare with each other."""
    return isinstance(value, str), value
