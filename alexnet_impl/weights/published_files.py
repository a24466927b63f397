"""Weights published by torchvision and Keras: address, checksum and required preprocessing."""

import functools
import os
from dataclasses import dataclass
from pathlib import Path

from alexnet_impl.data.download import RemoteFile, download
from alexnet_impl.data.progress import Progress, silent
from alexnet_impl.errors import DataError, UnknownNameError, WeightsError, require_home
from alexnet_impl.network.backbones import LIBRARIES
from alexnet_impl.network.spec_changes import SEPARATOR

_TORCH = "https://download.pytorch.org/models/"
_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/"
_KERAS_ENDING = "_weights_tf_dim_ordering_tf_kernels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A published file of weights trained on the 1,000 classes of ImageNet.

    Attributes:
        name: Name for --weights, such as 'torchvision:IMAGENET1K_V1'.
        variant: The network: an AlexNet or a backbone.
        framework: The framework whose file format it has.
        remote: Its address and checksum.
        input_scaling: Key of INPUT_SCALINGS used in training.
        resize_to: Height and width in pixels before the middle was cut out in training.
        input_size: Height and width of that middle, in pixels.
    """

    name: str
    variant: str
    framework: str
    remote: RemoteFile
    input_scaling: str
    resize_to: int | None
    input_size: int = 224

    @property
    def file_name(self) -> str:
        """File name in the framework's own cache."""
        return self.remote.url.rsplit("/", 1)[-1]

    @property
    def path(self) -> Path:
        """Path in the framework's own cache."""
        return weights_folder(self.framework) / self.file_name


def _torchvision(variant: str, version: int, file_name: str, resize_to: int = 256) -> Published:
    """Describes a file of torchvision, whose name ends in the first digits of its sha256."""
    return Published(
        name=f"torchvision:IMAGENET1K_V{version}",
        variant=variant,
        framework="torch",
        remote=RemoteFile(
            url=_TORCH + file_name, sha256=file_name.removesuffix(".pth").rsplit("-", 1)[-1]
        ),
        input_scaling="imagenet",
        resize_to=resize_to,
    )


def _keras(variant: str, place: str, scaling: str, *, md5: str = "", size: int = 224) -> Published:
    return Published(
        name="keras:imagenet",
        variant=variant,
        framework="tensorflow",
        remote=RemoteFile(url=_KERAS + place, md5=md5),
        input_scaling=scaling,
        resize_to=None,
        input_size=size,
    )


PUBLISHED: tuple[Published, ...] = (
    _torchvision("torchvision", 1, "alexnet-owt-7be5be79.pth"),
    _torchvision("vgg16", 1, "vgg16-397923af.pth"),
    _torchvision("resnet50", 1, "resnet50-0676ba61.pth"),
    _torchvision("resnet50", 2, "resnet50-11ad3fa6.pth", resize_to=232),
    _torchvision("mobilenetv2", 1, "mobilenet_v2-b0353104.pth"),
    _torchvision("mobilenetv2", 2, "mobilenet_v2-7ebf99e0.pth", resize_to=232),
    _keras(
        "vgg16",
        f"vgg16/vgg16{_KERAS_ENDING}_notop.h5",
        "caffe",
        md5="6d6bbae143d832006294945121d1f1fc",
    ),
    _keras(
        "resnet50",
        f"resnet/resnet50{_KERAS_ENDING}_notop.h5",
        "caffe",
        md5="4d473c1dd8becc155b73f8504c6f6626",
    ),
    *(
        _keras(
            "mobilenetv2",
            f"mobilenet_v2/mobilenet_v2{_KERAS_ENDING}_1.0_{size}_no_top.h5",
            "symmetric",
            size=size,
        )
        for size in (224, 96, 128, 160, 192)
    ),
)
"""The files of keras.applications have no heads. MobileNetV2 has one file for each input size,
without a published checksum."""


def find_published(name: str, variant: str, input_size: int) -> Published:
    """Finds a variant's published weights by name, preferring those of this input size.

    Raises:
        WeightsError: If the weights of that name belong to other networks.
        UnknownNameError: If no weights have that name.
    """
    base = variant.partition(SEPARATOR)[0]
    known = [entry for entry in PUBLISHED if entry.variant == base]
    found = [entry for entry in known if entry.name == name]
    if not found:
        names = list(dict.fromkeys(entry.name for entry in known)) or ["none that are published"]
        if others := dict.fromkeys(entry.variant for entry in PUBLISHED if entry.name == name):
            raise WeightsError(
                f"{name}: belongs to {', '.join(others)}, not to {variant}. Weights of "
                f"{variant}: {', '.join(names)}."
            )
        raise UnknownNameError(f"weights of {variant}", name, names)
    return next((entry for entry in found if entry.input_size == input_size), found[0])


def published_of(path: Path) -> Published | None:
    """Returns the published weights whose file has this name, or None."""
    return next((entry for entry in PUBLISHED if entry.file_name == path.name), None)


def is_published_name(text: str) -> bool:
    """Whether a text names published weights instead of a file."""
    return text.partition(":")[0] in LIBRARIES and ":" in text


def fetch_published(entry: Published, progress: Progress = silent) -> Path:
    """Returns the verified file, downloaded unless it is in the framework's own cache.

    Raises:
        WeightsError: If it cannot be downloaded; the message names the alternative.
    """
    if entry.path.is_file():
        check_copy(entry, entry.path)
        return entry.path
    try:
        return download(entry.remote, entry.path, progress=progress)
    except DataError as error:
        raise WeightsError(f"{error} Or give a copy of it with --weights FILE.") from error


def check_copy(entry: Published, path: Path) -> None:
    """Verifies the checksum of a file that has a published name.

    Raises:
        WeightsError: If its checksum is not the published one.
    """
    stat = path.stat()
    if mismatch := _checksum_mismatch(entry.remote, path, stat.st_size, stat.st_mtime_ns):
        raise WeightsError(
            f"{path}: {mismatch}; it is truncated, damaged or not a copy of {entry.remote.url}. "
            "Remove it and download it again."
        )


@functools.cache
def _checksum_mismatch(remote: RemoteFile, path: Path, *_: int) -> str:
    """Reads a file once for as long as its size and modification time stay the same."""
    return remote.checksum_mismatch(path)


def weights_folder(framework: str) -> Path:
    """The folder of torch.hub or keras.utils.get_file; they read the same variables.

    Raises:
        DataError: If the home folder is not known.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    variable, default, below = {
        "torch": ("TORCH_HOME", f"{cache}/torch", "hub/checkpoints"),
        "tensorflow": ("KERAS_HOME", "~/.keras", "models"),
    }[framework]
    with require_home(f"set {variable} to the absolute path of a writable folder"):
        return Path(os.environ.get(variable) or default).expanduser() / below
