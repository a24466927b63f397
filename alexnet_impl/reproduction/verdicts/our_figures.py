"""Our runs' figure for each claim, with its interval."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.reproduction.checks.class_tables import samples_of
from alexnet_impl.reproduction.checks.finding import NUM_TEST, NUM_TRAIN, PER_CLASS_TEST
from alexnet_impl.reproduction.claims.claim import AVERAGES, PER_CLASS, Claim
from alexnet_impl.reproduction.runs.dataset_check import class_place
from alexnet_impl.reproduction.runs.evidence import Evidence
from alexnet_impl.reproduction.verdicts.intervals import OurFigure, of_curves, of_mean, of_shares
from alexnet_impl.runs.records import Predictions
from alexnet_impl.stats.accuracy import confusion_matrix


def is_measurable(claim: Claim, run: Evidence) -> bool:
    """Whether a run's figure is comparable with the claim; a short run has its first epochs."""
    if claim.epoch is None:
        return run.is_full
    as_said = run.has_all_images and run.has_published_weights
    return as_said and run.epoch(claim.epoch) is not None


def our_values(claim: Claim, runs: Sequence[Evidence]) -> list[float]:
    """The figure of each run that has one."""
    values = (_our_value(claim, run) for run in runs)
    return [value for value in values if value is not None]


def _our_value(claim: Claim, run: Evidence) -> float | None:
    match claim.quantity:
        case "test_top1_accuracy":
            return None if run.result is None else run.result.test_top1_accuracy
        case "test_loss":
            return None if run.result is None else run.result.test_loss
        case "precision" | "recall" | "f1":
            return _class_value(claim, run)
        case "loss" | "eval_loss" | "train_top1_accuracy" | "eval_top1_accuracy":
            return _epoch_value(claim, run)
        case _:
            return None


def _epoch_value(claim: Claim, run: Evidence) -> float | None:
    """The figure of the claim's epoch, or of the last one if the claim names none."""
    number = claim.epoch or max(len(run.history.epochs), 1)
    record = run.epoch(number)
    if record is None:
        return None
    if claim.quantity == "loss":
        return _loss(claim, run, number)
    return float(getattr(record, claim.quantity))


def _loss(claim: Claim, run: Evidence, epoch: int) -> float:
    """A run's loss in an epoch, averaged as the claim's was, over as many steps."""
    return run.epoch_loss(epoch, from_bar=claim.from_bar, steps=claim.steps)


def _class_value(claim: Claim, run: Evidence) -> float | None:
    if run.predictions is None:
        return None
    table = class_table(run.predictions, len(run.dataset.class_names))
    column = table[:, PER_CLASS.index(claim.quantity)]
    if claim.of in AVERAGES:
        return float(column.mean())
    place = class_place(claim.of, run.dataset.class_names)
    return None if place is None else float(column[place])


def class_table(predictions: Predictions, num_classes: int) -> NDArray[np.float64]:
    """Precision, recall and F1 by class, shape (num_classes, 3); 0 where nothing was predicted."""
    counts = confusion_matrix(predictions.predicted, predictions.labels, num_classes)
    correct = np.diag(counts).astype(float)
    predicted, labelled = counts.sum(axis=0), counts.sum(axis=1)
    precision = correct / np.maximum(predicted, 1)
    recall = correct / np.maximum(labelled, 1)
    f1 = 2 * correct / np.maximum(predicted + labelled, 1)
    return np.stack([precision, recall, f1], axis=1)


def measure(claim: Claim, runs: Sequence[Evidence], claims: Sequence[Claim]) -> OurFigure | None:
    """Our figure for a claim with its interval; None if the runs have none.

    Args:
        claim: The published figure.
        runs: Comparable runs, one a seed.
        claims: All claims: other figures of a class tell the size of the sample it came from.
    """
    values = our_values(claim, runs)
    if not values:
        return None
    if claim.quantity in ("loss", "eval_loss") and claim.epoch is not None:
        if is_one_epoch_alone(claim, runs):
            return None
        curves = [_curve(claim, run) for run in runs]
        return of_curves(curves, claim.epoch, _loss_error(claim, runs[0]))
    if claim.quantity == "test_loss":
        count = runs[0].dataset.num_test_images
        return of_mean(values, _image_deviation(runs[0]) / math.sqrt(count))
    ours, theirs = _counts(claim, runs[0], claims)
    return of_shares(values, ours, claim.value, theirs)


def is_one_epoch_alone(claim: Claim, runs: Sequence[Evidence]) -> bool:
    """Whether a loss has no interval because there is one seed and one epoch only."""
    is_loss = claim.quantity in ("loss", "eval_loss") and claim.epoch == 1
    return is_loss and len(runs) == 1 and len(runs[0].history.epochs) == 1


def _curve(claim: Claim, run: Evidence) -> list[float]:
    """The whole curve that the claim's epoch belongs to, one loss an epoch."""
    if claim.quantity == "eval_loss":
        return [record.eval_loss for record in run.history.epochs]
    return [_loss(claim, run, record.epoch) for record in run.history.epochs]


def _loss_error(claim: Claim, run: Evidence) -> float:
    """Standard error of a run's loss in the claim's epoch."""
    losses = np.array(run.step_losses(claim.epoch or 1)[: claim.steps])
    if claim.quantity == "loss":
        count = len(losses)
        shares = bar_shares(count) if claim.from_bar else np.full(count, 1 / count)
        return float(losses.std() * np.linalg.norm(shares))
    return _image_deviation(run, losses) / math.sqrt(_num_evaluated(run))


def bar_shares(num_steps: int) -> NDArray[np.float64]:
    """Weight of each step in a mean of running means, shape (num_steps,); the first weigh most."""
    parts = 1 / np.arange(1, num_steps + 1)
    shares: NDArray[np.float64] = parts[::-1].cumsum()[::-1] / num_steps
    return shares


def _image_deviation(
    run: Evidence, step_losses: Sequence[float] | NDArray[np.float64] = ()
) -> float:
    """Standard deviation of the cross-entropy over images.

    It is computed from the test images; for a run that has no predictions yet, from the means over
    training batches.
    """
    if run.predictions is None:
        return float(np.std(step_losses) * math.sqrt(run.config.recipe.global_batch_size))
    labels = run.predictions.labels
    picked = run.predictions.probabilities[np.arange(len(labels)), labels].astype(float)
    losses = -np.log(np.maximum(picked, np.finfo(float).tiny))
    return float(losses.std())


def _num_evaluated(run: Evidence) -> int:
    """Number of images in an epoch's evaluation."""
    return run.dataset.num_validation_images or run.dataset.num_test_images


def _counts(claim: Claim, run: Evidence, claims: Sequence[Claim]) -> tuple[int, int]:
    """Numbers of images that our figure and the published one were measured on."""
    dataset = run.dataset
    if claim.quantity in PER_CLASS and claim.of not in AVERAGES:
        ours = dataset.num_test_images // len(dataset.class_names)
        sample = samples_of(claim.report, claims)[claim.of] if claim.unit == "%" else None
        return ours, sample or PER_CLASS_TEST
    if claim.quantity == "train_top1_accuracy":
        return dataset.num_train_images, NUM_TRAIN
    if claim.quantity == "eval_top1_accuracy":
        return _num_evaluated(run), _num_evaluated(run)
    return dataset.num_test_images, NUM_TEST
