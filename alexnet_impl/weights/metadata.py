"""Metadata stored in weight files: architecture, classes and required preprocessing.

A .safetensors file keeps it in its metadata; a .keras or .pt file of this package, which is a zip,
in an extra member that Keras and PyTorch ignore. Published files are recognised by their names.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from alexnet_impl.errors import WeightsError
from alexnet_impl.network.own_network import OwnNetwork, check_name, find_spec
from alexnet_impl.network.spec import Spec
from alexnet_impl.typed_json import parse_json, read, to_json
from alexnet_impl.weights.canonical import SCHEMA_VERSION, Weights
from alexnet_impl.weights.file_sizes import check_uncompressed
from alexnet_impl.weights.published_files import published_of
from alexnet_impl.weights.safetensors_io import read_metadata, read_safetensors, write_safetensors


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsInfo:
    """Metadata of a weight file: the network of the weights and the preprocessing they need.

    Attributes:
        variant: A key of VARIANTS, or the name of the user's own network; changes after a plus.
        num_classes: Number of logits.
        input_size: Height and width in pixels.
        width: Multiplier of the variant's channels and features.
        input_scaling: Key of INPUT_SCALINGS used in training; None if it is not known.
        resize_to: Recipe.resize_to used in training.
        class_names: One name per logit; empty if they are not known.
        network: The user's own network as data; None: a variant of the package.

    Raises:
        AlexNetError: If the name of a network of the user's own is not valid; see check_name().
    """

    variant: str
    num_classes: int
    input_size: int
    width: float
    input_scaling: str | None = None
    resize_to: int | None = None
    class_names: tuple[str, ...] = ()
    network: OwnNetwork | None = None

    def __post_init__(self) -> None:
        if self.network is not None:
            check_name(self.variant)

    def spec(self) -> Spec:
        """Returns the network of the weights."""
        return find_spec(
            self.variant,
            self.network,
            num_classes=self.num_classes,
            input_size=self.input_size,
            width=self.width,
        )


MEMBER = "alexnet_impl.json"
"""Name of the metadata's member in a file that is a zip."""
ZIPS = (".keras", ".pt", ".pth")
"""Endings of the files that store_info() can add to."""
NUM_IMAGENET_CLASSES = 1000


def stored_info(path: Path) -> WeightsInfo | None:
    """Returns the metadata of a weight file, or None if it has none.

    Raises:
        WeightsError: If it is missing or damaged.
    """
    entry = published_of(path)
    if entry is not None:
        return WeightsInfo(
            variant=entry.variant,
            num_classes=NUM_IMAGENET_CLASSES,
            input_size=entry.input_size,
            width=1.0,
            input_scaling=entry.input_scaling,
            resize_to=entry.resize_to,
        )
    match path.suffix:
        case ".safetensors":
            metadata = read_metadata(path)
            ours = {"schema_version", "variant"} & metadata.keys()
            return info_from_metadata(metadata, path) if ours else None
        case suffix if suffix in ZIPS:
            return _zip_info(path)
        case _:
            return None


def store_info(path: Path, info: WeightsInfo) -> None:
    """Adds metadata to a .keras or .pt file, which nobody reads yet.

    The member has no date, so that equal content gives equal bytes.
    """
    with zipfile.ZipFile(path, "a") as file:
        member = zipfile.ZipInfo(_member(path, file))
        file.writestr(member, json.dumps(info_to_metadata(info)))


def _member(path: Path, file: zipfile.ZipFile) -> str:
    """The metadata's member; PyTorch reads files only whose members are all in one folder."""
    names = file.namelist()
    inside = path.suffix != ".keras" and names
    return f"{names[0].partition('/')[0]}/{MEMBER}" if inside else MEMBER


def _zip_info(path: Path) -> WeightsInfo | None:
    check_uncompressed(path)
    if path.suffix != ".keras" and not zipfile.is_zipfile(path):
        return None  # as PyTorch before 1.6 wrote it, or no weights, which its own reader says
    try:
        with zipfile.ZipFile(path) as file:
            if (member := _member(path, file)) not in file.namelist():
                return None
            metadata = parse_json(file.read(member))
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: there is no such file.") from error
    except Exception as error:  # damaged zips raise many kinds
        what = "a Keras model" if path.suffix == ".keras" else "a file of torch.save"
        raise WeightsError(f"{path}: is not {what}, or it is damaged ({error}).") from error
    if not isinstance(metadata, dict):
        raise WeightsError(f"{path}: its metadata is damaged ({type(metadata).__name__}).")
    return info_from_metadata(metadata, path)


def save_weights(path: Path, weights: Weights, info: WeightsInfo) -> None:
    """Writes weights as safetensors, whole or not at all.

    The weights are in the canonical layout; the metadata goes into the file.
    """
    write_safetensors(path, weights, info_to_metadata(info))


def load_weights(path: Path) -> tuple[Weights, WeightsInfo]:
    """Reads a file that save_weights() wrote: weights in the canonical layout, and metadata.

    Raises:
        WeightsError: If it is missing, damaged, or was not written by this package.
    """
    weights, metadata = read_safetensors(path)
    return weights, info_from_metadata(metadata, path)


def info_to_metadata(info: WeightsInfo) -> dict[str, str]:
    """Converts metadata to the strings that a file stores."""
    values = {name: json.dumps(value) for name, value in to_json(info).items()}
    if info.network is None:
        del values["network"]  # as files have it that were written before there were any
    return {"schema_version": SCHEMA_VERSION, **values, "variant": info.variant}


def remarks_metadata(remarks: Sequence[str]) -> dict[str, str]:
    """Converts phrases on how another file was read to metadata of the file made from it."""
    return {"remarks": json.dumps(remarks)} if remarks else {}


def stored_remarks(path: Path) -> tuple[str, ...]:
    """Returns the phrases that remarks_metadata() put into a safetensors file.

    Raises:
        WeightsError: If it is missing or damaged.
    """
    return tuple(json.loads(read_metadata(path).get("remarks", "[]")))


def info_from_metadata(metadata: Mapping[str, str], path: Path) -> WeightsInfo:
    """Parses the strings that a file stores.

    Raises:
        WeightsError: If the file was not written by this package, is of a newer release, or is
            damaged.
    """
    if metadata.get("schema_version") != SCHEMA_VERSION:
        raise WeightsError(
            f"{path}: schema_version is {metadata.get('schema_version')!r}, not "
            f"{SCHEMA_VERSION!r}. It is not a weight file of this package, or of a newer release."
        )
    try:
        values = {
            "variant": metadata["variant"],
            "num_classes": int(metadata["num_classes"]),
            "input_size": int(metadata["input_size"]),
            "width": float(metadata["width"]),
            "input_scaling": parse_json(metadata.get("input_scaling", "null")),
            "resize_to": parse_json(metadata.get("resize_to", "null")),
            "class_names": parse_json(metadata.get("class_names", "[]")),
            "network": parse_json(metadata.get("network", "null")),
        }
        info = read(WeightsInfo, values)
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise WeightsError(f"{path}: its metadata is damaged ({error}).") from error
    if len(info.class_names) not in (0, info.num_classes):
        counts = f"{len(info.class_names)} class_names for {info.num_classes} classes"
        raise WeightsError(f"{path}: its metadata is damaged ({counts}).")
    return info
