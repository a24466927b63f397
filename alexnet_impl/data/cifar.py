"""CIFAR-10 and CIFAR-100 as published: archives, files, checksums, classes, layout of the records.

The python versions consist of pickles. They are parsed only after their published checksum
matched, by an unpickler that can create only NumPy arrays.

References:
    Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009;
    https://www.cs.toronto.edu/~kriz/cifar.html (layout of the records, MD5 of the archives).
    The sums of the archives are those that Keras (python versions) and torchvision-ruby (binary
    versions) check; those of the single files, torchvision's (MD5, python versions) and
    torchvision-ruby's (SHA-256, binary versions).
"""

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
CIFAR100_CLASSES = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
    "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
    "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup",
    "dinosaur", "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house",
    "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man",
    "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid",
    "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy",
    "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal",
    "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar",
    "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
    "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman",
    "worm",
)  # fmt: skip
"""The fine labels of CIFAR-100."""
URL = "https://www.cs.toronto.edu/~kriz/"
SIDE = 32
_PIXEL_BYTES = 3 * SIDE * SIDE


@dataclass(frozen=True, kw_only=True)
class Release:
    """One published form of CIFAR-10 or CIFAR-100.

    Attributes:
        dataset: 'cifar10' or 'cifar100'.
        title: Its name for people.
        class_names: One name per label.
        archive: File name of the archive.
        archive_sha256: Its checksum.
        folder: The folder in the archive.
        algorithm: Hash algorithm of the files' checksums.
        train_files: File name to checksum, in the order of the training images.
        test_files: File name to checksum.
        marker: Another file of the folder, where the names of the files alone say too little.
        num_train: Number of training images, the same in every file.
        num_test: Number of test images, the same in every file.
        parse: Maps a file's bytes, whose checksum matched, to uint8 pixels of shape
            (num_images, 3 * 32 * 32) and labels of shape (num_images,).
    """

    dataset: str
    title: str
    class_names: tuple[str, ...]
    archive: str
    archive_sha256: str
    folder: str
    algorithm: str
    train_files: dict[str, str]
    test_files: dict[str, str]
    marker: str = ""
    num_train: int = 50_000
    num_test: int = 10_000
    parse: Callable[[bytes], tuple[NDArray[np.uint8], NDArray[np.int64]]]

    @property
    def files(self) -> dict[str, str]:
        """Checksums of the training files and then the test file."""
        return self.train_files | self.test_files


def parse_records(data: bytes, num_labels: int = 1) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Parses a binary version: records of one or two label bytes and 3,072 pixel bytes.

    Of CIFAR-100's two labels, coarse and fine, the fine one is taken.

    Returns:
        Pixels of shape (num_images, 3072) and labels of shape (num_images,).
    """
    records = np.frombuffer(data, np.uint8).reshape(-1, num_labels + _PIXEL_BYTES)
    return records[:, num_labels:], records[:, num_labels - 1].astype(np.int64)


def parse_pickle(
    data: bytes, labels: bytes = b"labels"
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Parses a python version: a pickled dict with the array `data` and lists of labels.

    Args:
        data: The pickle.
        labels: Key of the labels.

    Returns:
        Pixels of shape (num_images, 3072) and labels of shape (num_images,).

    Raises:
        UnpicklingError: If it is damaged, or holds other objects.
    """
    try:
        content = _ArrayUnpickler(io.BytesIO(data), encoding="bytes").load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:
        # A damaged opcode or length may raise anything, MemoryError included.
        raise pickle.UnpicklingError(f"damaged: {error!r}") from error
    return np.asarray(content[b"data"]), np.array(content[labels], np.int64)


CIFAR10_BINARY = Release(
    dataset="cifar10",
    title="CIFAR-10",
    class_names=CIFAR10_CLASSES,
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
CIFAR10_PYTHON = Release(
    dataset="cifar10",
    title="CIFAR-10",
    class_names=CIFAR10_CLASSES,
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
CIFAR100_BINARY = Release(
    dataset="cifar100",
    title="CIFAR-100",
    class_names=CIFAR100_CLASSES,
    archive="cifar-100-binary.tar.gz",
    archive_sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    folder="cifar-100-binary",
    algorithm="sha256",
    train_files={"train.bin": "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29"},
    test_files={"test.bin": "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a"},
    marker="fine_label_names.txt",
    parse=partial(parse_records, num_labels=2),
)
CIFAR100_PYTHON = Release(
    dataset="cifar100",
    title="CIFAR-100",
    class_names=CIFAR100_CLASSES,
    archive="cifar-100-python.tar.gz",
    archive_sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    folder="cifar-100-python",
    algorithm="md5",
    train_files={"train": "16019d7e3df5f24257cddd939b257f8d"},
    test_files={"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    marker="meta",
    parse=partial(parse_pickle, labels=b"fine_labels"),
)
RELEASES = (CIFAR10_BINARY, CIFAR10_PYTHON, CIFAR100_BINARY, CIFAR100_PYTHON)
"""The binary version of a dataset comes first: it is read where there are both."""


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
