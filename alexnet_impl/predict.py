"""Classifies images with the weights of a run, of a file, or of a published network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.data.dataset import Dataset, Split
from alexnet_impl.data.decoding import decode_image, fit_to_square
from alexnet_impl.data.preprocessing import INPUT_SCALINGS
from alexnet_impl.data.progress import Progress, silent
from alexnet_impl.errors import DataError, WeightsError
from alexnet_impl.frameworks import FRAMEWORKS, get_framework, is_installed
from alexnet_impl.network.spec import Spec
from alexnet_impl.processes.weight_files import PUBLISHED_VARIANT, Hints, read_network
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.runs.records import Predictions
from alexnet_impl.training.evaluation import eval_batch_size, predict_probabilities
from alexnet_impl.weights.canonical import Weights
from alexnet_impl.weights.matching import Pairing
from alexnet_impl.weights.pretrained_files import FILE_KINDS, find_pretrained
from alexnet_impl.weights.published_files import is_published_name


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePrediction:
    """The class probabilities of one image.

    Attributes:
        path: The image file.
        class_names: One name per class.
        probabilities: Shape (num_classes,).
    """

    path: Path
    class_names: tuple[str, ...]
    probabilities: NDArray[np.float64]

    def top(self, count: int) -> list[tuple[str, float]]:
        """The most probable classes with their probabilities, best first."""
        best = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.class_names[k], float(self.probabilities[k])) for k in best]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network with its weights and preprocessing, ready to classify images.

    Attributes:
        framework: The framework that runs it.
        spec: The network.
        recipe: The preprocessing of images, and whether predictions are averaged over flips.
        weights: Arrays by canonical name, in the shapes of weight_shapes(spec).
        class_names: One name per logit.
        image_size: Height and width of the images that it is fed, in pixels.
        remarks: Phrases on what was stripped, chosen or converted while reading its weights.
        pairing: How its weights were paired by their shapes; empty if names decided it.
    """

    framework: str
    spec: Spec
    recipe: Recipe
    weights: Weights
    class_names: tuple[str, ...]
    image_size: int
    remarks: tuple[str, ...] = ()
    pairing: tuple[Pairing, ...] = ()


def is_weights(path: Path) -> bool:
    """Whether a path is a file or a name of weights, and not a run folder."""
    if path.is_dir():  # a SavedModel, which is refused
        return (path / "saved_model.pb").is_file()
    return is_published_name(str(path)) or path.suffix in FILE_KINDS


def network_of_run(folder: RunFolder, framework: str | None) -> Network:
    """The network of a finished run.

    It runs in the run's own framework unless another is named.

    Images are resized to the stored size of the run's images, so that the network sees what it
    was trained on.

    Raises:
        RunError: If the run is not finished.
    """
    folder.finished_result()
    config, dataset = folder.config, folder.dataset
    height, _ = dataset.image_size
    return Network(
        framework=framework or config.framework,
        spec=config.spec(len(dataset.class_names)),
        recipe=config.recipe,
        weights=folder.read_weights(),
        class_names=dataset.class_names,
        image_size=height,
    )


def network_of_weights(
    name: str, framework: str | None, hints: Hints | None = None, progress: Progress = silent
) -> Network:
    """The network of a weight file, with the preprocessing that the weights were trained on.

    It runs in PyTorch, if installed, unless a framework is named; otherwise in TensorFlow.

    Raises:
        WeightsError: If the file is damaged, its network is not known, or neither it nor the user
            states the preprocessing.
    """
    hints = hints or Hints()
    found = find_pretrained(name, hints.variant or PUBLISHED_VARIANT, 0, progress)
    given = read_network(found.path, hints)
    info = given.info
    if info.input_scaling is None:
        raise WeightsError(
            f"{found.path}: does not state its preprocessing of images; give the one that it was "
            f"trained with: --input-scaling {{{','.join(INPUT_SCALINGS)}}}."
        )
    values = {"input_scaling": info.input_scaling, "resize_to": info.resize_to}
    return Network(
        framework=framework or next(filter(is_installed, FRAMEWORKS), FRAMEWORKS[0]),
        spec=info.spec(),
        recipe=Recipe.from_dict(values),
        weights=given.weights,
        class_names=info.class_names or _numbered(info.num_classes),
        image_size=info.resize_to or info.input_size,
        remarks=given.remarks,
        pairing=given.pairing,
    )


def predict_files(network: Network, paths: Sequence[Path], device: str) -> list[ImagePrediction]:
    """Classifies image files, each cut to its middle square.

    Returns:
        One prediction per file, in the order of `paths`.

    Raises:
        DataError: If a file is missing or does not decode; nothing is classified then.
    """
    if not paths:
        raise DataError("no image was given; name one or more image files after the weights.")
    images = np.stack(
        [fit_to_square(decode_image(path, where=str(path)), network.image_size) for path in paths]
    )
    trainer = get_framework(network.framework).make_trainer(
        network.spec, network.recipe, network.weights, device
    )
    split = Split(images=images, labels=np.zeros(len(images), np.int64))
    flip = network.recipe.eval_flip
    rows = predict_probabilities(trainer, split, batch_size=32, flip=flip)
    return [
        ImagePrediction(path=path, class_names=network.class_names, probabilities=row)
        for path, row in zip(paths, rows, strict=True)
    ]


def evaluate_network(network: Network, dataset: Dataset, device: str) -> Predictions:
    """Classifies the test images of a dataset.

    Returns:
        Probabilities by the classes of the network, and labels that are indices into them.

    Raises:
        WeightsError: If the dataset has classes that the network does not have.
    """
    numbers = _class_numbers(network, dataset)
    trainer = get_framework(network.framework).make_trainer(
        network.spec, network.recipe, network.weights, device
    )
    rows = predict_probabilities(
        trainer,
        dataset.test,
        batch_size=eval_batch_size(network.spec.input_shape[1]),
        flip=network.recipe.eval_flip,
    )
    return Predictions(
        probabilities=rows.astype(np.float32),
        labels=numbers[dataset.test.labels],
        sample_indices=np.zeros(0, np.int64),
        sample_images=dataset.test.images[:0],
    )


def _class_numbers(network: Network, dataset: Dataset) -> NDArray[np.int64]:
    """The network's number of each class of a dataset, matched by name where it has names."""
    known, count = network.class_names, dataset.num_classes
    if set(dataset.class_names) <= set(known):
        return np.array([known.index(name) for name in dataset.class_names], np.int64)
    if known == _numbered(len(known)) and count == len(known):
        return np.arange(count)
    raise WeightsError(
        f"the weights know {len(known)} classes ({', '.join(known):.100}), the images are of "
        f"{count} ({', '.join(dataset.class_names):.100}); give images of the classes that the "
        "weights were trained on."
    )


def _numbered(count: int) -> tuple[str, ...]:
    """Names for classes that have none."""
    return tuple(f"class {number}" for number in range(count))
