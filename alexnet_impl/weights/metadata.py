"""What a file of weights says of itself, whatever its format: its network, and what it must be fed.

A .safetensors file has it in its metadata, a .keras file that this package wrote in a member of its
own, which Keras does not look at; published files are known by their names.
"""

import json
import shutil
import zipfile
from pathlib import Path

from alexnet_impl.errors import WeightsError
from alexnet_impl.weights.canonical import (
    WeightsInfo,
    info_from_metadata,
    info_to_metadata,
    read_metadata,
    replace_whole,
)
from alexnet_impl.weights.published_files import published_of

MEMBER = "alexnet_impl.json"
"""Of a .keras file, which is a zip."""
NUM_IMAGENET_CLASSES = 1000


def stored_info(path: Path) -> WeightsInfo | None:
    """What a file says of itself; None where it says nothing.

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
            return info_from_metadata(read_metadata(path), path)
        case ".keras":
            return _keras_info(path)
        case _:
            return None


def store_info(path: Path, info: WeightsInfo) -> None:
    """Put it into a .keras file, whole or not at all."""
    with replace_whole(path) as temporary:
        shutil.copyfile(path, temporary)
        with zipfile.ZipFile(temporary, "a") as file:
            file.writestr(MEMBER, json.dumps(info_to_metadata(info)))


def _keras_info(path: Path) -> WeightsInfo | None:
    try:
        with zipfile.ZipFile(path) as file:
            if MEMBER not in file.namelist():
                return None
            metadata = json.loads(file.read(MEMBER))
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: there is no such file.") from error
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise WeightsError(f"{path}: is no Keras model, or is damaged ({error}).") from error
    return info_from_metadata(metadata, path)
