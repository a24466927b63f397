"""What our runs say in the place of a claim."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.reproduction.checks.class_tables import sample_of
from alexnet_impl.reproduction.checks.finding import NUM_TEST, NUM_TRAIN, PER_CLASS_TEST
from alexnet_impl.reproduction.claims.claim import AVERAGES, PER_CLASS, Claim
from alexnet_impl.reproduction.runs.dataset_check import class_place
from alexnet_impl.reproduction.runs.evidence import Evidence
from alexnet_impl.reproduction.verdicts.curves import our_loss
from alexnet_impl.reproduction.verdicts.intervals import Measured, of_curves, of_mean, of_shares
from alexnet_impl.runs.records import Predictions
from alexnet_impl.stats.accuracy import confusion_matrix


def is_measurable(claim: Claim, run: Evidence) -> bool:
    """Whether a run's figure may be put beside the claim; a short run has its first epochs."""
    if claim.epoch is None:
        return run.is_full
    as_said = run.has_all_images and run.has_published_weights
    return as_said and run.epoch(claim.epoch) is not None


def our_values(claim: Claim, runs: Sequence[Evidence]) -> list[float]:
    """One figure a run, of the runs that have one."""
    values = (_our_value(claim, run) for run in runs)
    return [value for value in values if value is not None]


def _our_value(claim: Claim, run: Evidence) -> float | None:
    match claim.quantity:
        case "test_top1_accuracy":
            return None if run.result is None else run.result.test_top1_accuracy
        case "test_loss":
            return None if run.result is None else run.result.test_loss
        case "precision" | "recall" | "f1":
            return _of_class(claim, run)
        case "loss" | "eval_loss" | "train_top1_accuracy" | "eval_top1_accuracy":
            return _of_epoch(claim, run)
        case _:
            return None


def _of_epoch(claim: Claim, run: Evidence) -> float | None:
    record = run.epoch(claim.epoch or max(len(run.history.epochs), 1))
    if record is None:
        return None
    if claim.quantity == "loss":
        return our_loss(run, claim)
    return float(getattr(record, claim.quantity))


def _of_class(claim: Claim, run: Evidence) -> float | None:
    if run.predictions is None:
        return None
    table = class_table(run.predictions, len(run.dataset.class_names))
    column = table[:, PER_CLASS.index(claim.quantity)]
    if claim.of in AVERAGES:
        return float(column.mean())
    place = class_place(claim.of, run.dataset.class_names)
    return None if place is None else float(column[place])


def class_table(predictions: Predictions, num_classes: int) -> NDArray[np.float64]:
    """Precision, recall and F1, shape (num_classes, 3); 0 where nothing was predicted."""
    counts = confusion_matrix(predictions.predicted, predictions.labels, num_classes)
    right = np.diag(counts).astype(float)
    predicted, labelled = counts.sum(axis=0), counts.sum(axis=1)
    precision = right / np.maximum(predicted, 1)
    recall = right / np.maximum(labelled, 1)
    f1 = 2 * right / np.maximum(predicted + labelled, 1)
    return np.stack([precision, recall, f1], axis=1)


def measure(claim: Claim, runs: Sequence[Evidence], claims: Sequence[Claim]) -> Measured | None:
    """Our figure with its interval; None where the runs have none.

    Args:
        claim: What it is put beside.
        runs: Those that are comparable.
        claims: All claims: what else is printed of a class tells the sample that it is of.
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
    """Whether a loss has neither a second seed nor a second epoch to tell its interval."""
    is_loss = claim.quantity in ("loss", "eval_loss") and claim.epoch == 1
    return is_loss and len(runs) == 1 and len(runs[0].history.epochs) == 1


def _curve(claim: Claim, run: Evidence) -> list[float]:
    """The whole curve that the claim's epoch is of."""
    if claim.quantity == "eval_loss":
        return [record.eval_loss for record in run.history.epochs]
    if not claim.from_bar:
        return [record.loss for record in run.history.epochs]
    return [our_loss(run, replace(claim, epoch=record.epoch)) for record in run.history.epochs]


def _loss_error(claim: Claim, run: Evidence) -> float:
    """Standard error of a run's loss in the claim's epoch."""
    losses = np.array(run.step_losses(claim.epoch or 1)[: claim.steps])
    if claim.quantity == "loss":
        shares = (
            bar_shares(len(losses)) if claim.from_bar else np.full(len(losses), 1 / len(losses))
        )
        return float(losses.std() * np.linalg.norm(shares))
    return _image_deviation(run, losses) / math.sqrt(_evaluated(run))


def bar_shares(num_steps: int) -> NDArray[np.float64]:
    """How much each step counts in a mean of running means, the first ones most."""
    parts = 1 / np.arange(1, num_steps + 1)
    shares: NDArray[np.float64] = parts[::-1].cumsum()[::-1] / num_steps
    return shares


def _image_deviation(
    run: Evidence, step_losses: Sequence[float] | NDArray[np.float64] = ()
) -> float:
    """Standard deviation of the cross-entropy over images.

    Of the test images; where a run has not come so far, from the means over training batches.
    """
    if run.predictions is None:
        return float(np.std(step_losses) * math.sqrt(run.config.recipe.global_batch_size))
    labels = run.predictions.labels
    picked = run.predictions.probabilities[np.arange(len(labels)), labels].astype(float)
    losses = -np.log(np.maximum(picked, np.finfo(float).tiny))
    return float(losses.std())


def _evaluated(run: Evidence) -> int:
    """Images that an epoch's evaluation is of."""
    return run.dataset.num_validation_images or run.dataset.num_test_images


def _counts(claim: Claim, run: Evidence, claims: Sequence[Claim]) -> tuple[int, int]:
    """Images that ours and theirs were measured on."""
    dataset = run.dataset
    if claim.quantity in PER_CLASS and claim.of not in AVERAGES:
        sample = _their_sample(claim, claims)
        return dataset.num_test_images // len(dataset.class_names), sample
    if claim.quantity == "train_top1_accuracy":
        return dataset.num_train_images, NUM_TRAIN
    if claim.quantity == "eval_top1_accuracy":
        return _evaluated(run), _evaluated(run)
    return dataset.num_test_images, NUM_TEST


def _their_sample(claim: Claim, claims: Sequence[Claim]) -> int:
    """Images of this class that the report looked at, as far as its figures tell."""
    if claim.unit != "%":
        return PER_CLASS_TEST
    return sample_of(claim, claims) or PER_CLASS_TEST
