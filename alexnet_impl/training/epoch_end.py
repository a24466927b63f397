"""Evaluates the network at the end of an epoch and records the epoch."""

import time

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.data.dataset import Split
from alexnet_impl.runs.records import EpochRecord
from alexnet_impl.training.clock import images_per_second
from alexnet_impl.training.evaluation import (
    eval_batch_size,
    loss_and_accuracy,
    predict_probabilities,
)
from alexnet_impl.training.events import Evaluating
from alexnet_impl.training.state import RunState
from alexnet_impl.training.stopping import StopRequest


def end_epoch(state: RunState) -> EpochRecord:
    """Evaluates on the validation images, or on the test images without any, and records it.

    Raises:
        DivergedError: If a probability is not finite.
    """
    dataset, progress = state.dataset, state.progress
    started = time.perf_counter()
    split = dataset.validation or dataset.test
    probabilities = _evaluate(state, split, StopRequest())
    evaluation_time_s = time.perf_counter() - started
    progress.evaluation_time_s += evaluation_time_s
    if not dataset.validation:
        state.test_probabilities = probabilities
    loss, accuracy = loss_and_accuracy(probabilities, split.labels)
    record = EpochRecord(
        epoch=progress.epoch + 1,
        step=progress.step,
        loss=progress.epoch_loss_sum / progress.epoch_images,
        train_top1_accuracy=progress.epoch_correct / progress.epoch_images,
        evaluated_on="validation" if dataset.validation else "test",
        eval_loss=loss,
        eval_top1_accuracy=accuracy,
        learning_rate=state.history.step_learning_rate[-1],
        training_time_s=progress.epoch_training_time_s,
        evaluation_time_s=evaluation_time_s,
        images_per_second=images_per_second(
            progress.epoch_timed_images, progress.epoch_training_time_s
        ),
    )
    state.history.epochs.append(record)
    progress.end_epoch()
    return record


def measure_test_images(state: RunState, stop: StopRequest) -> NDArray[np.float64]:
    """Returns the test images' class probabilities, of shape (num_images, num_classes).

    They are computed unless the last epoch was evaluated on the test images.

    Raises:
        DivergedError: If a probability is not finite.
        KeyboardInterrupt: If the user has asked to stop, at the end of a batch.
    """
    if state.test_probabilities is not None:
        return state.test_probabilities
    started = time.perf_counter()
    probabilities = _evaluate(state, state.dataset.test, stop)
    state.progress.evaluation_time_s += time.perf_counter() - started
    return probabilities


def _evaluate(state: RunState, split: Split, stop: StopRequest) -> NDArray[np.float64]:
    """Returns the class probabilities of a split's images, of shape (num_images, num_classes)."""
    features = state.network.features

    def progress(done: int) -> None:
        state.observer(Evaluating(done=done, total=len(split)))
        if stop.asked:
            raise KeyboardInterrupt

    probabilities = predict_probabilities(
        state.trainer,
        split if features is None else features.of(split, state.dataset),
        batch_size=eval_batch_size(state.spec.input_shape[1]),
        flip=state.recipe.eval_flip,
        progress=progress,
    )
    if not np.isfinite(probabilities).all():
        raise state.diverged(f"probabilities are not finite after step {state.progress.step}")
    return probabilities
