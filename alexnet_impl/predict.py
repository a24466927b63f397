"""Classifies image files with the weights of a run or of a published network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.data.dataset import Split
from alexnet_impl.data.decoding import decode_image, fit_to_square
from alexnet_impl.data.progress import Progress, silent
from alexnet_impl.errors import DataError, WeightsError
from alexnet_impl.frameworks import FRAMEWORKS, get_framework, is_installed
from alexnet_impl.network.spec import Spec
from alexnet_impl.processes.weight_files import PUBLISHED_VARIANT, Hints, network_info, read_weights
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.training.evaluation import predict_probabilities
from alexnet_impl.weights.canonical import Weights
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
    """

    framework: str
    spec: Spec
    recipe: Recipe
    weights: Weights
    class_names: tuple[str, ...]
    image_size: int


def is_weights(path: Path) -> bool:
    """Whether a path is a file or a name of weights, and not a run folder."""
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


def network_of_weights(name: str, framework: str | None, progress: Progress = silent) -> Network:
    """The network of a weight file, with the preprocessing that the weights were trained on.

    It runs in PyTorch, if installed, unless a framework is named; otherwise in TensorFlow.

    Raises:
        WeightsError: If the file is damaged or does not state the preprocessing.
    """
    found = find_pretrained(name, PUBLISHED_VARIANT, 0, progress)
    info = network_info(found.path, Hints())
    if info.input_scaling is None:
        raise WeightsError(
            f"{found.path}: does not state its preprocessing of images; a run's "
            "weights.safetensors does, and so does the output of alexnet convert for published "
            "weights."
        )
    spec = info.spec()
    values = {"input_scaling": info.input_scaling, "resize_to": info.resize_to}
    return Network(
        framework=framework or next(filter(is_installed, FRAMEWORKS), FRAMEWORKS[0]),
        spec=spec,
        recipe=Recipe.from_dict(values),
        weights=read_weights(found.path, spec),
        class_names=info.class_names or tuple(f"class {k}" for k in range(info.num_classes)),
        image_size=info.resize_to or info.input_size,
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
