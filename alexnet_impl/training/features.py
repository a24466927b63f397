"""Cached features: outputs of the frozen front layers, computed once per image and kept on disk.

If the front layers do not learn and the images are the same in every epoch, so are these outputs,
and the head can be trained on them. The files are memory-mapped, so that memory does not grow with
the dataset or the input size.
"""

import errno
import hashlib
import json
import math
import os
import tempfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from alexnet_impl.data.batches import Batch, eval_batches
from alexnet_impl.data.cache import cache_dir
from alexnet_impl.data.dataset import Dataset, Split
from alexnet_impl.data.progress import Progress, silent
from alexnet_impl.errors import AlexNetWarning, RecipeError, RunError
from alexnet_impl.files import remove_abandoned, replace_whole
from alexnet_impl.frameworks import DeviceTrainer
from alexnet_impl.network.spec import Spec, trace
from alexnet_impl.recipe.phases import phase_recipes
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.recipe.trainable import frozen_prefix, trainable_layers
from alexnet_impl.weights.canonical import Weights

BATCH_SIZE = 64
"""Images per batch: at 224 x 224 pixels, as many as fit beside a training step."""
PREPROCESSING_FIELDS = ("input_scaling", "input_size", "resize", "resize_to", "precision")
"""Fields of the recipe that change the features, for given images and weights."""


class FeatureSplit(Split):
    """A split with float32 features in place of images: (num_images, ...), channels first."""

    def __post_init__(self) -> None:
        """Skips the checks of images: features are computed, not given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutNetwork:
    """A network that is cut in two: frozen front layers, and the head that learns.

    Attributes:
        layer: The last layer of the front.
        head: The layers after it, as a network of its own.
    """

    layer: str
    head: Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """The features of a dataset's images.

    Attributes:
        cut: The layer whose outputs they are.
        train: The training images' features.
        test: The test images' features.
        validation: The validation images' features, if there are any.
    """

    cut: CutNetwork
    train: FeatureSplit
    test: FeatureSplit
    validation: FeatureSplit | None = None

    def of(self, split: Split, dataset: Dataset) -> FeatureSplit:
        """Returns the features of one of the dataset's splits."""
        found = {id(dataset.train): self.train, id(dataset.test): self.test}
        if dataset.validation is not None and self.validation is not None:
            found[id(dataset.validation)] = self.validation
        return found[id(split)]

    def batch(self, batch: Batch) -> Batch:
        """Returns a batch with features, float32 of shape (batch, ...), in place of its images."""
        features: Any = self.train.images[batch.indices]
        return Batch(images=features, labels=batch.labels)


def cut_network(spec: Spec, recipe: Recipe) -> CutNetwork:
    """Cuts a network after the front layers that no phase of the recipe changes.

    Raises:
        RecipeError: If no front layer with weights is frozen.
    """
    count = min(frozen_prefix(spec, part) for part in phase_recipes(recipe))
    steps = trace(spec).layers
    if not any(step.num_params for step in steps[:count]):
        raise RecipeError(
            f"cache_features: {spec.name} has no frozen front layers with trainable="
            f"{recipe.trainable}; freeze some, for example with --recipe.trainable head."
        )
    head = replace(
        spec,
        input_shape=steps[count - 1].output_shape,
        layers=spec.layers[count:],
        skipped=spec.skipped + count,
    )
    return CutNetwork(layer=steps[count - 1].layer.name, head=head)


def head_recipe(recipe: Recipe, spec: Spec, cut: CutNetwork) -> Recipe:
    """Returns a phase's recipe for the head, with its trainable layers by name.

    After a backbone is cut off, trainable='head' would mean the last layer of what is left.
    """
    learning = trainable_layers(spec, recipe).layers
    names = [layer.name for layer in cut.head.layers if layer.name in learning]
    return replace(recipe, trainable=",".join(names))


def head_weights(weights: Weights, cut: CutNetwork) -> Weights:
    """Returns the head's weights out of the whole network's, in the canonical layout."""
    names = {layer.name for layer in cut.head.layers}
    return {key: array for key, array in weights.items() if key.partition(".")[0] in names}


def compute_features(
    trainer: DeviceTrainer,
    cut: CutNetwork,
    dataset: Dataset,
    key: str,
    progress: Progress = silent,
) -> Features:
    """Returns the features of all images, from the cache if an earlier run has computed them.

    Args:
        trainer: A trainer of the whole network.
        cut: The layer whose outputs they are.
        dataset: The images, uint8 of shape (num_images, height, width, 3).
        key: The digest that cache_key() returns.
        progress: Called with the number of images that are done.

    Returns:
        Memory-mapped float32 arrays of shape (num_images, *cut.head.input_shape).

    Raises:
        RunError: If the disk has no space for them.
    """
    remove_abandoned(_path(key, "train").parent)
    splits = {"train": dataset.train, "test": dataset.test}
    if dataset.validation is not None:
        splits["validation"] = dataset.validation
    found = {
        name: FeatureSplit(
            images=_cached(trainer, cut, split, _path(key, name), progress), labels=split.labels
        )
        for name, split in splits.items()
    }
    return Features(cut=cut, **found)


def cache_key(
    weights: Weights, cut: CutNetwork, recipe: Recipe, dataset: Dataset, versions: dict[str, Any]
) -> str:
    """Returns a digest of everything that the features depend on.

    Among them are the framework's versions and device, which may round differently. The weights are
    in the canonical layout.
    """
    heads = head_weights(weights, cut)
    digest = hashlib.sha256()
    for name in sorted(weights):
        if name not in heads:
            array = np.ascontiguousarray(weights[name])
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(array.data)
    facts = {name: getattr(recipe, name) for name in PREPROCESSING_FIELDS}
    facts |= {"layer": cut.layer, "images": dataset.fingerprint, "versions": versions}
    digest.update(json.dumps(facts, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _path(key: str, split: str) -> Path:
    return cache_dir() / "features" / f"{key[:32]}-{split}.npy"


def _cached(
    trainer: DeviceTrainer, cut: CutNetwork, split: Split, path: Path, progress: Progress
) -> Any:
    """Returns the features of a split, mapped into memory."""
    if _is_whole(path, (len(split), *cut.head.input_shape)):
        return _mapped(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_whole(path) as temporary:
            _compute(trainer, cut, split, temporary, progress)
        return _mapped(path)
    except OSError as error:
        warnings.warn(
            f"Features cannot be cached in '{path.parent}' ({error}), so they are computed for "
            "this run only. Set ALEXNET_CACHE_DIR to a writable folder.",
            AlexNetWarning,
            stacklevel=2,
        )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        _compute(trainer, cut, split, Path(folder, path.name), progress)
        return _mapped(Path(folder, path.name))  # the disk keeps it until it is unmapped


def _mapped(path: Path) -> Any:
    return np.load(path, mmap_mode="c", allow_pickle=False)  # PyTorch wants to be able to write


def _is_whole(path: Path, shape: tuple[int, ...]) -> bool:
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        return bool(found.shape == shape and found.dtype == np.float32)
    except Exception:  # noqa: BLE001 - damaged bytes raise many kinds; the file is written anew
        return False


def _compute(
    trainer: DeviceTrainer,
    cut: CutNetwork,
    split: Split,
    path: Path,
    progress: Progress,
) -> None:
    """Writes the features of a split to a new file.

    Raises:
        RunError: If the disk has no space for them; nothing is computed then.
    """
    shape = (len(split), *cut.head.input_shape)
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    done = 0
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        _reserve(file, file.tell() + 4 * math.prod(shape), path.parent)
        for batch in eval_batches(split, BATCH_SIZE):
            features = trainer.features(batch.images, cut.layer)
            file.write(np.ascontiguousarray(features, "<f4").data)
            done += len(batch)
            progress(f"Features after {cut.layer}", done, len(split))


def _reserve(file: BinaryIO, num_bytes: int, folder: Path) -> None:
    """Reserves space on the disk, where the system can do that.

    Raises:
        RunError: If there is not enough.
    """
    try:
        os.posix_fallocate(file.fileno(), 0, num_bytes)
    except AttributeError:
        return
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise RunError(
                f"{folder}: the cached features of one split take {num_bytes / 1e6:,.1f} MB "
                f"({error.strerror}); free some space, set ALEXNET_CACHE_DIR to another folder, "
                "or leave out --cache-features."
            ) from error
