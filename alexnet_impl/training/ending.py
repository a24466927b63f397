"""Ends a run: writes weights, predictions and the result to its folder."""

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.runs.environment import process_peak_memory_bytes
from alexnet_impl.runs.records import (
    NUM_SAMPLE_IMAGES,
    NUM_WRONG_IMAGES,
    Predictions,
    RunResult,
    Status,
    Timing,
)
from alexnet_impl.training.clock import images_per_second
from alexnet_impl.training.evaluation import loss_and_accuracy
from alexnet_impl.training.events import Ended
from alexnet_impl.training.state import RunState
from alexnet_impl.weights.canonical import Weights


def end_finished(state: RunState, probabilities: NDArray[np.float64]) -> RunResult:
    """Ends a run after its last step.

    The test images' class probabilities are of shape (num_images, num_classes).
    """
    test = state.dataset.test
    rng = np.random.default_rng(state.recipe.seed)
    samples = np.sort(rng.permutation(len(test))[:NUM_SAMPLE_IMAGES])
    wrong = kept_wrong(probabilities.argmax(axis=1) != test.labels)
    state.folder.write_weights(state.whole_weights(), state.spec)
    state.folder.write_predictions(
        Predictions(
            probabilities=probabilities.astype(np.float32),
            labels=test.labels,
            sample_indices=samples,
            sample_images=test.images[samples],
            wrong_indices=wrong,
            wrong_images=test.images[wrong],
        )
    )
    result = _end(state, "finished", figures=loss_and_accuracy(probabilities, test.labels))
    state.folder.remove_checkpoint()
    return result


def kept_wrong(is_wrong: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Indices of the wrong images to keep, in rising order; `is_wrong` has shape (num_images,).

    The order in which they are chosen is random, since files are often sorted by class, and the
    same in every run, so that two runs that disagree keep the same images.
    """
    order = np.random.default_rng(0).permutation(len(is_wrong))
    return np.sort(order[is_wrong[order]][:NUM_WRONG_IMAGES])


def end_interrupted(state: RunState) -> RunResult:
    """Ends a run that the user stopped; its checkpoint is on disk."""
    return _end(state, "interrupted", "stopped by the user")


def end_collapsed(state: RunState, message: str) -> RunResult:
    """Ends a run whose network has collapsed; the dead weights are kept."""
    state.folder.write_history(state.history)
    state.folder.write_weights(state.whole_weights(), state.spec)
    return _end(state, "collapsed", message)


def end_diverged(state: RunState, message: str, good: Weights | None) -> RunResult:
    """Ends a run that diverged.

    `good` are the last good weights of what is trained, in the canonical layout; None keeps the
    initial ones.
    """
    network = state.network
    weights = network.first_weights() if good is None else network.kept_weights | good
    state.folder.write_history(state.history)
    state.folder.write_weights(weights, state.spec)
    return _end(state, "diverged", message)


def _end(
    state: RunState,
    status: Status,
    message: str = "",
    figures: tuple[float | None, float | None] = (None, None),
) -> RunResult:
    """Writes and returns the result."""
    state.count_other_work()
    progress = state.progress
    speed = images_per_second(progress.timed_images, progress.training_time_s)
    result = RunResult(
        status=status,
        message=message,
        steps=progress.step,
        test_loss=figures[0],
        test_top1_accuracy=figures[1],
        timing=Timing(
            first_step_time_s=progress.first_step_time_s,
            training_time_s=progress.training_time_s,
            evaluation_time_s=progress.evaluation_time_s,
            images_per_second=speed,
            interference=progress.others_time_s / max(progress.cores_time_s, 1e-9),
        ),
        peak_memory_bytes=process_peak_memory_bytes(),
        peak_device_memory_bytes=state.trainer.peak_memory_bytes(),
        batches_sha256=progress.batches_sha256,
        collapse=progress.collapse,
    )
    state.folder.write_result(result)
    state.observer(Ended(result=result))
    return result
