"""Weight files from one format into another, and the proof that both mean the same.

.safetensors          the canonical layout, with the network's name in its metadata
.pt  .pth             a PyTorch state_dict, with our names or torchvision's
.keras  .weights.h5   a whole Keras model, or its weights
.h5                   either, as Keras 2 wrote them; such files are only read
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alexnet_impl.data.config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.data.progress import Progress, silent
from alexnet_impl.errors import WeightsError
from alexnet_impl.frameworks import FRAMEWORKS, Logits, get_framework, is_installed
from alexnet_impl.network.spec import Spec
from alexnet_impl.network.variants import build_spec
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.processes.weight_files import PUBLISHED_VARIANT, Hints, network_info, read_weights
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights.canonical import Weights
from alexnet_impl.weights.metadata import (
    WeightsInfo,
    save_weights,
    store_info,
)
from alexnet_impl.weights.pretrained_files import file_kind
from alexnet_impl.weights.published_files import (
    check_copy,
    fetch_published,
    find_published,
    is_published_name,
    published_of,
)

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
    """What was converted, and how far the two files' outputs lie apart.

    Attributes:
        source: The framework that read the old file's weights for the check.
        target: The framework that read the new file's.
        max_absolute_difference: Of logits, over images and classes.
        max_relative_difference: That over the largest logit.
    """

    spec: Spec
    num_weights: int
    source: str
    target: str
    max_absolute_difference: float
    max_relative_difference: float


def convert(source: Path, target: Path, hints: Hints, progress: Progress = silent) -> Conversion:
    """Convert a weight file, read the new one back, and compare the outputs of both.

    Args:
        source: The file, or the name of published weights such as torchvision:IMAGENET1K_V1.
        target: The file to write.
        hints: What is known of the network.
        progress: Is told of a download.

    Raises:
        WeightsError: If a format is unknown, the file is damaged or belongs to another network,
            or its network is not known.
        FrameworkError: If a format's framework is not installed.
    """
    if is_published_name(str(source)):
        target_kind(target)
        entry = find_published(str(source), hints.variant or PUBLISHED_VARIANT, 0)
        source = fetch_published(entry, progress)
    kinds = file_kind(source), target_kind(target)
    if source.resolve() == target.resolve():
        raise WeightsError(f"{target}: is the file that is to be converted.")
    if not source.is_file():
        raise WeightsError(f"{source}: there is no such file.")
    if (known := published_of(source)) is not None:
        check_copy(known, source)
    if not target.parent.is_dir():
        raise WeightsError(f"{target}: its folder does not exist.")
    info = network_info(source, hints)
    spec = build_spec(
        info.variant, num_classes=info.num_classes, input_size=info.input_size, width=info.width
    )
    weights = read_weights(source, spec)
    readers = _readers(*kinds)
    _write(target, spec, weights, info)
    before = _logits(readers[0], spec, weights)
    after = _logits(readers[1], spec, read_weights(target, spec))
    difference = float(np.abs(before - after).max())
    relative = difference / max(float(np.abs(before).max()), 1e-30)
    bound = tolerance("logits", "float32")
    if not relative <= bound:  # NaN is not
        target.unlink(missing_ok=True)
        raise WeightsError(
            f"{target}: was removed: its outputs differ from those of {source} by {relative:.2e}, "
            f"relative, and may by {bound:.0e}; are the weights finite?"
        )
    return Conversion(
        spec=spec,
        num_weights=len(weights),
        source=readers[0],
        target=readers[1],
        max_absolute_difference=difference,
        max_relative_difference=relative,
    )


def target_kind(path: Path) -> str:
    """'safetensors', or the framework whose file is to be written, by the name's ending.

    Raises:
        WeightsError: If the ending is none of SUFFIXES.
    """
    for suffix, kind in SUFFIXES.items():
        if path.name.endswith(suffix) and path.name != suffix:
            return kind
    raise WeightsError(f"{path}: must end in one of {', '.join(SUFFIXES)}.")


def _write(path: Path, spec: Spec, weights: Weights, info: WeightsInfo) -> None:
    kind = target_kind(path)
    try:
        if kind == "safetensors":
            save_weights(path, weights, info)
        else:
            get_framework(kind).write_checkpoint(path, spec, weights)
            if path.suffix == ".keras":
                store_info(path, info)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written ({error.strerror}).") from error


def _readers(source_kind: str, target_kind: str) -> tuple[str, str]:
    """Who computes the outputs: each file's own framework, and for safetensors the other one."""
    installed = [name for name in FRAMEWORKS if is_installed(name)]
    if not installed:
        get_framework(FRAMEWORKS[0])  # says how to install one

    def other(kind: str) -> str:
        return next((name for name in installed if name != kind), installed[0])

    source = other(target_kind) if source_kind == "safetensors" else source_kind
    target = other(source_kind) if target_kind == "safetensors" else target_kind
    return source, target


def _logits(framework: str, spec: Spec, weights: Weights) -> Logits:
    """Logits of real images, normalised as ImageNet's: activations of a real scale."""
    images = load_dataset(DataConfig(dataset="digits")).test.images[:NUM_CHECKED_IMAGES]
    recipe = Recipe(input_scaling="imagenet")
    trainer = get_framework(framework).make_trainer(spec, recipe, weights, "cpu")
    return trainer.logits(images)
