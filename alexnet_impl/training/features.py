"""What frozen layers make of each image, computed once and kept on disk.

Where the layers at the front do not learn and images are the same in every epoch, so is their
output: the head can learn on it alone. The features lie in memory-mapped files, so that memory does
not grow with the dataset or the input size.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.data.batches import Batch, eval_batches
from alexnet_impl.data.cache import cache_dir
from alexnet_impl.data.dataset import Dataset, Split
from alexnet_impl.data.progress import Progress, silent
from alexnet_impl.errors import RecipeError
from alexnet_impl.files import replace_whole
from alexnet_impl.frameworks import DeviceTrainer
from alexnet_impl.network.spec import Spec, trace
from alexnet_impl.recipe.phases import phase_recipes
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.recipe.trainable import frozen_prefix, trainable_layers
from alexnet_impl.weights.canonical import Weights

BATCH_SIZE = 64
"""Images at once, of 224 x 224 pixels no more than fit beside a training step."""
PREPROCESSING_FIELDS = ("input_scaling", "input_size", "resize", "resize_to", "precision")
"""What of a recipe decides the features of an image and given weights."""


class FeatureSplit(Split):
    """A split with float32 features in place of images: (num_images, ...), channels first."""

    def __post_init__(self) -> None:
        """Nothing to check: the features are our own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutNetwork:
    """A network in two: layers that stay the same, and the head that learns.

    Attributes:
        layer: The last layer of the front.
        head: The layers behind it, as a network of its own.
    """

    layer: str
    head: Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """The features of a dataset's images.

    Attributes:
        cut: Where they were taken.
        train: Of the training images.
        test: Of the test images.
        validation: Of the validation images, if there are any.
    """

    cut: CutNetwork
    train: FeatureSplit
    test: FeatureSplit
    validation: FeatureSplit | None

    def of(self, split: Split, dataset: Dataset) -> FeatureSplit:
        """The features of one of the dataset's splits."""
        found = {id(dataset.train): self.train, id(dataset.test): self.test}
        if dataset.validation is not None and self.validation is not None:
            found[id(dataset.validation)] = self.validation
        return found[id(split)]

    def batch(self, batch: Batch) -> Batch:
        """The features of a batch of training images."""
        features: Any = self.train.images[batch.indices]
        return Batch(images=features, labels=batch.labels)


def cut_network(spec: Spec, recipe: Recipe) -> CutNetwork:
    """Cut a network behind the layers that no phase of the recipe changes.

    Raises:
        RecipeError: If there are none with weights.
    """
    count = min(frozen_prefix(spec, part) for part in phase_recipes(recipe))
    steps = trace(spec).layers
    if not any(step.num_params for step in steps[:count]):
        raise RecipeError(
            f"cache_features: {spec.name} has no frozen layers at its front with trainable="
            f"{recipe.trainable}; freeze some, such as with --recipe.trainable head."
        )
    head = replace(
        spec,
        input_shape=steps[count - 1].output_shape,
        layers=spec.layers[count:],
        skipped=spec.skipped + count,
    )
    return CutNetwork(layer=steps[count - 1].layer.name, head=head)


def head_recipe(recipe: Recipe, spec: Spec, cut: CutNetwork) -> Recipe:
    """A phase's recipe for the head alone: what learns of the whole network, by name.

    Where a backbone is cut off, 'head' would mean the last layer of what is left.
    """
    learning = trainable_layers(spec, recipe).layers
    names = [layer.name for layer in cut.head.layers if layer.name in learning]
    return replace(recipe, trainable=",".join(names))


def head_weights(weights: Weights, cut: CutNetwork) -> Weights:
    """Those of the head, out of a whole network's."""
    names = {layer.name for layer in cut.head.layers}
    return {key: array for key, array in weights.items() if key.partition(".")[0] in names}


def compute_features(
    trainer: DeviceTrainer,
    cut: CutNetwork,
    dataset: Dataset,
    key: str,
    progress: Progress = silent,
) -> Features:
    """The features of all images, out of the cache where an earlier run has left them.

    Args:
        trainer: Of the whole network.
        cut: Where to take them.
        dataset: The images.
        key: Of cache_key().
        progress: Is told how many images are done.
    """
    splits = {"train": dataset.train, "test": dataset.test}
    if dataset.validation is not None:
        splits["validation"] = dataset.validation
    found = {
        name: FeatureSplit(
            images=_cached(trainer, cut, split, _path(key, name), progress), labels=split.labels
        )
        for name, split in splits.items()
    }
    return Features(
        cut=cut,
        train=found["train"],
        test=found["test"],
        validation=found.get("validation"),
    )


def cache_key(
    weights: Weights, cut: CutNetwork, recipe: Recipe, dataset: Dataset, versions: dict[str, Any]
) -> str:
    """A digest of all that the features depend on.

    Args:
        weights: Of the whole network.
        cut: Where its front ends.
        recipe: How images are preprocessed.
        dataset: The images.
        versions: Of the framework, and its device: others may round otherwise.
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
    """Features by image, mapped into memory."""
    shape = (len(split), *cut.head.input_shape)
    if not _is_whole(path, shape):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_whole(path) as temporary:
            _compute(trainer, cut, split, temporary, shape, progress)
    return np.load(path, mmap_mode="c", allow_pickle=False)  # PyTorch wants to be able to write


def _is_whole(path: Path, shape: tuple[int, ...]) -> bool:
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return False
    return bool(found.shape == shape and found.dtype == np.float32)


def _compute(
    trainer: DeviceTrainer,
    cut: CutNetwork,
    split: Split,
    path: Path,
    shape: tuple[int, ...],
    progress: Progress,
) -> None:
    features: NDArray[np.float32] = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.float32, shape=shape
    )
    done = 0
    for batch in eval_batches(split, BATCH_SIZE):
        features[done : done + len(batch)] = trainer.features(batch.images, cut.layer)
        done += len(batch)
        progress(f"Features behind {cut.layer}", done, len(split))
    features.flush()  # type: ignore[attr-defined]
