"""Converts a weight file into another format, and compares the outputs of both files.

.safetensors          the canonical layout, with the network's name in its metadata
.pt  .pth             a PyTorch state_dict, with our names or torchvision's, and the same metadata
.keras  .weights.h5   a whole Keras model, with the same metadata, or its weights
.h5  .ckpt .bin .tar  what Keras 2, Lightning and others wrote; such files are only read

Files of other programs are read too: weights/stored.py finds a state_dict in a checkpoint,
weights/matching.py the network whose shapes it has.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.data.progress import Progress, silent
from alexnet_impl.errors import WeightsError
from alexnet_impl.files import replace_whole, save_file
from alexnet_impl.frameworks import FRAMEWORKS, Logits, get_framework, is_installed
from alexnet_impl.network.spec import Spec
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.processes.channel import Answer, answer_calls
from alexnet_impl.processes.weight_files import (
    PUBLISHED_VARIANT,
    Hints,
    NetworkWeights,
    read_network,
    read_weights,
)
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.typed_json import read
from alexnet_impl.weights.canonical import Weights
from alexnet_impl.weights.matching import Pairing, pairing_remark
from alexnet_impl.weights.metadata import ZIPS, info_to_metadata, remarks_metadata, store_info
from alexnet_impl.weights.pretrained_files import file_kind
from alexnet_impl.weights.published_files import (
    check_copy,
    fetch_published,
    find_published,
    is_published_name,
    published_of,
)
from alexnet_impl.weights.wrong_files import refuse_wrong_file

SUFFIXES = {
    ".safetensors": "safetensors",
    ".pt": "torch",
    ".pth": "torch",
    ".keras": "tensorflow",
    ".weights.h5": "tensorflow",
}
NUM_CHECKED_IMAGES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A conversion: its two files, and the difference between their outputs.

    Attributes:
        spec: The network.
        num_weights: The number of arrays.
        source: The framework that computed the old file's outputs.
        target: The framework that computed the new file's outputs.
        remarks: Phrases on what was stripped, chosen or converted while reading the old file.
        pairing: How the old file's weights were paired by their shapes; empty if names decided it.
        max_absolute_difference: The largest difference of a logit, over images and classes.
        max_relative_difference: The same, divided by the largest logit.
    """

    spec: Spec
    num_weights: int
    source: str
    target: str
    remarks: tuple[str, ...] = ()
    pairing: tuple[Pairing, ...] = ()
    max_absolute_difference: float
    max_relative_difference: float


def convert(source: Path, target: Path, hints: Hints, progress: Progress = silent) -> Conversion:
    """Converts a weight file, reads the new one back, and compares the outputs of both.

    The target is written, or replaced, only after that; its folder is made if there is none. The
    source may also be the name of published weights, such as torchvision:IMAGENET1K_V1.

    Raises:
        WeightsError: If a format is unknown, the file is damaged or belongs to another network,
            or its network is not known.
        UnknownNameError: If a variant or a key is not known.
        FrameworkError: If a format's framework is not installed.
    """
    if is_published_name(str(source)):
        target_kind(target)
        entry = find_published(str(source), hints.variant or PUBLISHED_VARIANT, 0)
        source = fetch_published(entry, progress)
    if source.is_dir():
        refuse_wrong_file(source)
    kinds = file_kind(source), target_kind(target)
    if source.resolve() == target.resolve():
        raise WeightsError(f"{target}: is the source file too; choose another name.")
    refuse_wrong_file(source)
    if (known := published_of(source)) is not None:
        check_copy(known, source)
    given = read_network(source, hints)
    spec, weights = given.info.spec(), given.weights
    readers = _readers(*kinds)
    before = _logits(readers[0], spec, weights)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replace_whole(target) as unproven:
            _write(unproven, given)
            after = _logits(readers[1], spec, read_weights(unproven, spec))
            difference = float(np.abs(before - after).max())
            relative = difference / max(float(np.abs(before).max()), 1e-30)
            bound = tolerance("logits", "float32")
            if not relative <= bound:  # NaN is not
                raise WeightsError(
                    f"{target}: was not written: its outputs would differ from those of {source} "
                    f"by a relative {relative:.2e}, more than the {bound:.0e} allowed; are the "
                    "weights finite?"
                )
    except OSError as error:
        raise WeightsError(f"{target}: cannot be written ({error.strerror}).") from error
    return Conversion(
        spec=spec,
        num_weights=len(weights),
        source=readers[0],
        target=readers[1],
        remarks=given.remarks,
        pairing=given.pairing,
        max_absolute_difference=difference,
        max_relative_difference=relative,
    )


def target_kind(path: Path) -> str:
    """The kind of a file to write, by its ending: 'safetensors', or the framework that writes it.

    Raises:
        WeightsError: If the ending is not in SUFFIXES.
    """
    for suffix, kind in SUFFIXES.items():
        if path.name.endswith(suffix) and path.name != suffix:
            return kind
    raise WeightsError(f"{path}: must end in one of {', '.join(SUFFIXES)}.")


def _write(path: Path, given: NetworkWeights) -> None:
    """Writes a file that nobody reads yet; safetensors with the remarks on the old one."""
    kind = target_kind(path)
    if kind == "safetensors":
        remarks = (*given.remarks, *pairing_remark(given.pairing))
        save_file(given.weights, path, info_to_metadata(given.info) | remarks_metadata(remarks))
    else:
        get_framework(kind).write_checkpoint(path, given.info.spec(), given.weights)
        if path.suffix in ZIPS:
            store_info(path, given.info)


def _readers(source_kind: str, target_kind: str) -> tuple[str, str]:
    """The frameworks that compute the outputs: a file's own, and for safetensors the other one."""
    installed = [name for name in FRAMEWORKS if is_installed(name)]
    if not installed:
        get_framework(FRAMEWORKS[0])  # says how to install one

    def other(kind: str) -> str:
        return next((name for name in installed if name != kind), installed[0])

    source = other(target_kind) if source_kind == "safetensors" else source_kind
    target = other(source_kind) if target_kind == "safetensors" else target_kind
    return source, target


def _logits(framework: str, spec: Spec, weights: Weights) -> Logits:
    """Logits of real images, (image, class): normalised, so that activations are of real scale."""
    images = load_dataset(DataConfig(dataset="digits")).test.images[:NUM_CHECKED_IMAGES]
    recipe = Recipe(input_scaling="imagenet")
    trainer = get_framework(framework).make_trainer(spec, recipe, weights, "cpu")
    return trainer.logits(images)


def run_conversion_worker() -> int:
    """Converts the weight files that calls on standard input name, until it ends."""
    return answer_calls(_answer)


def _answer(_: str, values: dict[str, Any], __: Weights) -> Answer:
    convert(Path(values["source"]), Path(values["target"]), read(Hints, values["network"]))
    return None, {}
