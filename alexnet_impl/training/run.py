"""The training loop, the same for every framework: epochs of steps, evaluation, checkpoints.

It knows the Trainer protocol, NumPy batches and the run folder. Its parts: steps.py, epoch_end.py,
checkpoint.py, stopping.py, ending.py; state.py has what they share.
"""

import time

from alexnet_impl.data.prefetch import prefetch
from alexnet_impl.errors import CollapsedError, DivergedError
from alexnet_impl.runs.records import RunResult
from alexnet_impl.training.checkpoint import checkpoint_weights, save
from alexnet_impl.training.ending import end_collapsed, end_diverged, end_finished, end_interrupted
from alexnet_impl.training.epoch_end import end_epoch, measure_test_images
from alexnet_impl.training.events import EpochEnded, Started
from alexnet_impl.training.feeding import prefetch_depth
from alexnet_impl.training.state import RunState
from alexnet_impl.training.steps import EpochSteps, digested_batches
from alexnet_impl.training.stopping import StopRequest, stop_on_signals

READ_EVERY_S = 0.5
"""How often losses are read back from the device, for the progress bar and to catch NaN."""
CHECKPOINT_EVERY_S = 300.0
"""How often a checkpoint is written within an epoch; one is always written at its end."""


def train(state: RunState) -> RunResult:
    """Trains to the end, or until the user stops it.

    Raises:
        DivergedError: If the loss is not finite any more; the last good weights are kept.
    """
    state.observer(
        Started(
            framework=state.config.framework,
            num_epochs=state.recipe.epochs if state.recipe.steps is None else None,
            num_steps=state.num_steps,
            step=state.progress.step,
            evaluated_images=_evaluated_images(state),
        )
    )
    try:
        with stop_on_signals() as stop:
            while not (state.is_recorded or stop.asked):
                if (phase := state.next_phase()) is not state.phase:
                    state.begin_phase(phase, state.trainer.weights())
                _train_epoch(state, stop)
            if not state.is_recorded:
                return end_interrupted(state)
            try:
                probabilities = measure_test_images(state, stop)
            except KeyboardInterrupt:
                return end_interrupted(state)
            return end_finished(state, probabilities)
    except CollapsedError as error:
        return end_collapsed(state, str(error))
    except DivergedError as error:
        end_diverged(state, str(error), checkpoint_weights(state.folder))
        raise


def _evaluated_images(state: RunState) -> int:
    """Counts the images of the evaluations after each epoch and at the end, mirror images too."""
    dataset, num_epochs = state.dataset, -(-state.num_steps // state.batches_per_epoch)
    count = num_epochs * len(dataset.validation or dataset.test)
    if dataset.validation:
        count += len(dataset.test)
    return count * (2 if state.recipe.eval_flip else 1)


def _train_epoch(state: RunState, stop: StopRequest) -> None:
    """Trains to the end of the epoch or the run, or until the user stops it; then saves."""
    steps = EpochSteps(state)
    if not state.is_done:  # a checkpoint may have been written after the last step
        _take_steps(steps, stop)
    steps.read()
    is_over = state.is_done or state.progress.step_in_epoch == state.batches_per_epoch
    if stop.asked or not is_over:  # who kills after a signal does not wait for an evaluation
        save(state)
    if not is_over:
        return
    record = end_epoch(state)
    save(state)
    state.observer(EpochEnded(record=record))  # what is said to have ended is on the disk


def _take_steps(steps: EpochSteps, stop: StopRequest) -> None:
    state = steps.state
    batches = prefetch(digested_batches(state), prefetch_depth(state.recipe))
    last_save = time.perf_counter()
    try:
        for call in steps.calls(batches):
            steps.take(call)
            if steps.clock.since_read() > READ_EVERY_S:
                steps.read()
            if time.perf_counter() - last_save > CHECKPOINT_EVERY_S and not stop.asked:
                steps.read()
                save(state)
                steps.clock.restart()
                last_save = time.perf_counter()
            if stop.asked or state.is_done:
                break
    finally:
        batches.close()
