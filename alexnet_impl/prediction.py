"""What a run's weights say of image files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.data import Split, decode_image, fit_to_square
from alexnet_impl.errors import DataError
from alexnet_impl.evaluation import predict_probabilities
from alexnet_impl.frameworks import get_framework
from alexnet_impl.results import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePrediction:
    """The probabilities of one image.

    Attributes:
        path: The file.
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


def predict_files(
    folder: RunFolder, paths: Sequence[Path], *, framework: str | None, device: str
) -> list[ImagePrediction]:
    """Classify image files with a finished run's weights.

    Each image is cut to its middle square and shrunk to the size that the run's images were
    stored in, so that the network sees what it was trained on.

    Raises:
        DataError: If a file is missing or does not decode; nothing is classified then.
        RunError: If the run is not finished.
    """
    folder.finished_result()
    config, dataset = folder.config, folder.dataset
    if not paths:
        raise DataError("no image was given; name one or more image files behind the run folder.")
    height, _ = dataset.image_size
    images = np.stack(
        [fit_to_square(decode_image(path, where=str(path)), height) for path in paths]
    )
    spec = config.spec(len(dataset.class_names))
    trainer = get_framework(framework or config.framework).make_trainer(
        spec, config.recipe, folder.read_weights(), device
    )
    split = Split(images=images, labels=np.zeros(len(images), np.int64))
    rows = predict_probabilities(trainer, split, batch_size=32, flip=config.recipe.eval_flip)
    return [
        ImagePrediction(path=path, class_names=dataset.class_names, probabilities=row)
        for path, row in zip(paths, rows, strict=True)
    ]
