"""Results of runs as values that JSON can hold, for --json: numbers, not their text."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from alexnet_impl.convert import Conversion
from alexnet_impl.predict import ImagePrediction
from alexnet_impl.report.run.differences import equalities
from alexnet_impl.report.run.groups import accuracy_difference, group_runs
from alexnet_impl.report.run.verdict import verdict
from alexnet_impl.report.run.views import RunView, view_runs
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.runs.records import Predictions
from alexnet_impl.stats.accuracy import (
    Accuracy,
    confusion_matrix,
    per_class_accuracy,
    top1_accuracy,
)


def runs_json(runs: Sequence[RunFolder]) -> dict[str, Any]:
    """The results of runs, and of several their verdict, difference and equality checks."""
    views = view_runs(runs)
    found: dict[str, Any] = {"runs": [_run(view) for view in views]}
    if len(views) > 1:
        told = verdict(views)
        difference = accuracy_difference(group_runs(views))
        found |= {
            "headline": told.headline,
            "is_settled": told.is_settled,
            "difference": None if difference is None else asdict(difference),
            "checks": [asdict(check) for check in equalities(views)],
        }
    return found


def _run(view: RunView) -> dict[str, Any]:
    result = view.result
    return {
        "path": str(view.path),
        "framework": view.config.framework,
        "variant": view.config.variant,
        "width": view.config.width,
        "seed": view.config.recipe.seed,
        "dataset": view.dataset.name,
        "status": None if result is None else result.status,
        "steps": len(view.history.step_loss) if result is None else result.steps,
        "collapsed": view.collapse is not None,
        "test_loss": None if result is None else result.test_loss,
        "test_top1_accuracy": None if view.accuracy is None else _accuracy(view.accuracy),
        "timing": None if result is None else asdict(result.timing),
        "peak_memory_bytes": None if result is None else result.peak_memory_bytes,
        "peak_device_memory_bytes": None if result is None else result.peak_device_memory_bytes,
    }


def _accuracy(accuracy: Accuracy) -> dict[str, Any]:
    return asdict(accuracy)


def evaluation_json(folder: RunFolder) -> dict[str, Any]:
    """The accuracy of a finished run, per class too, and its confusion matrix.

    Raises:
        RunError: If the run is not finished, or its predictions are missing or damaged.
    """
    (view,) = view_runs([folder])
    return _run(view) | _classes(folder.read_predictions(), folder.dataset.class_names)


def anew_json(
    predictions: Predictions, names: Sequence[str], framework: str, dataset: str, *, loss: float
) -> dict[str, Any]:
    """The accuracy of weights that were evaluated anew, as evaluation_json() gives a run's."""
    accuracy = top1_accuracy(predictions.predicted, predictions.labels)
    return {
        "framework": framework,
        "dataset": dataset,
        "test_loss": loss,
        "test_top1_accuracy": _accuracy(accuracy),
    } | _classes(predictions, names)


def _classes(predictions: Predictions, names: Sequence[str]) -> dict[str, Any]:
    predicted, labels = predictions.predicted, predictions.labels
    accuracies = per_class_accuracy(predicted, labels, len(names))
    return {
        "classes": [
            {"class": name, **_accuracy(one)} for name, one in zip(names, accuracies, strict=True)
        ],
        "confusion_matrix": confusion_matrix(predicted, labels, len(names)).tolist(),
    }


def conversion_json(done: Conversion) -> dict[str, Any]:
    """A conversion: the network, the frameworks, how weights were paired, how outputs differ."""
    values = {one.name: getattr(done, one.name) for one in fields(done) if one.name != "spec"}
    return {"network": done.spec.name} | values


def predictions_json(predictions: Sequence[ImagePrediction], *, top: int) -> list[dict[str, Any]]:
    """The `top` most probable classes of each image file."""
    return [
        {
            "image": str(prediction.path),
            "classes": [
                {"class": name, "probability": float(probability)}
                for name, probability in prediction.top(top)
            ],
        }
        for prediction in predictions
    ]
