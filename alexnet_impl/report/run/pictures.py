"""Test images on a run page: those on which two runs disagree, and a sample."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet_impl.report.figure_style import png_data_uri
from alexnet_impl.report.run.groups import RunGroup, accuracy_difference, pairs
from alexnet_impl.report.run.views import RunView, with_predictions
from alexnet_impl.runs.records import Predictions

MAX_DISAGREEMENTS = 24
"""Images on which two runs disagree that a page shows."""
_MAX_IMAGE_SIDE = 128
"""Larger images are shrunk, so that the page stays small."""


def agreement(groups: Sequence[RunGroup]) -> dict[str, Any] | None:
    """How often two runs agree on the same test images, and images on which they do not.

    None unless there are two groups. Of several seeds, the first pair of runs is shown. An image is
    shown if one of the runs kept it.
    """
    if accuracy_difference(groups) is None:
        return None
    views = pairs(groups)[0]
    measured = with_predictions(views)
    (_, first), (_, second) = measured
    unequal = np.flatnonzero(first.predicted != second.predicted)
    right = [each.predicted == each.labels for each in (first, second)]
    kept = {index: image for each in (second, first) for index, image in _kept(each).items()}
    shown = [int(index) for index in unequal if int(index) in kept][:MAX_DISAGREEMENTS]
    both, only_first = int((right[0] & right[1]).sum()), int((right[0] & ~right[1]).sum())
    only_second = int((right[1] & ~right[0]).sum())
    difference = accuracy_difference([_alone(view) for view in views])
    return {
        "views": views,
        "seed": views[0].config.recipe.seed if len(groups[0].views) > 1 else None,
        "num_unequal": len(unequal),
        "num_images": len(first.labels),
        "counts": [
            [both, only_first],
            [only_second, len(first.labels) - both - only_first - only_second],
        ],
        "p_value": None if difference is None else difference.p_value,
        "images": [_card(kept[index], index, measured) for index in shown],
    }


def _alone(view: RunView) -> RunGroup:
    return RunGroup(label=view.label, colour=view.colour, views=(view,))


def _kept(predictions: Predictions) -> dict[int, NDArray[np.uint8]]:
    """Every image that a run kept, uint8 of shape (height, width, 3), by its index."""
    found: dict[int, NDArray[np.uint8]] = {}
    for indices, images in (
        (predictions.sample_indices, predictions.sample_images),
        (predictions.wrong_indices, predictions.wrong_images),
    ):
        found |= {int(index): image for index, image in zip(indices, images, strict=True)}
    return found


def samples(views: Sequence[RunView]) -> list[dict[str, Any]]:
    """The sample that the first finished run drew, with the predictions of all runs on it."""
    measured = with_predictions(views)
    if not measured:
        return []
    first, shown = measured[0]
    same = [one for one in measured if one[0].dataset.fingerprint == first.dataset.fingerprint]
    pictures = zip(shown.sample_indices, shown.sample_images, strict=True)
    return [_card(image, int(index), same) for index, image in pictures]


def _card(
    image: NDArray[np.uint8], index: int, measured: Sequence[tuple[RunView, Predictions]]
) -> dict[str, Any]:
    """An image of shape (height, width, 3) with its class and the predictions of runs."""
    view, predictions = measured[0]
    return {
        "data_uri": _png_data_uri(image),
        "class_name": view.dataset.class_names[predictions.labels[index]],
        "predictions": [_prediction(*one, index) for one in measured],
    }


def _prediction(view: RunView, predictions: Predictions, index: int) -> dict[str, Any]:
    probabilities = predictions.probabilities[index]
    predicted = int(probabilities.argmax())
    return {
        "view": view,
        "class_name": view.dataset.class_names[predicted],
        "probability": f"{probabilities[predicted]:.1%}",
        "is_correct": predicted == int(predictions.labels[index]),
    }


def _png_data_uri(pixels: NDArray[np.uint8]) -> str:
    """An image of shape (height, width, 3) as a PNG data URI."""
    image = Image.fromarray(pixels)
    image.thumbnail((_MAX_IMAGE_SIDE, _MAX_IMAGE_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return png_data_uri(buffer.getvalue())
