"""Takes the steps of an epoch, reads their losses back, and accounts for the time.

A step never waits for the device: losses are read back together, about twice a second.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from alexnet_impl.data.batches import Batch, GatherIndices, chain_digest, pick
from alexnet_impl.errors import CollapsedError
from alexnet_impl.training.clock import Clock, images_per_second
from alexnet_impl.training.collapse import collapse_text, collapse_warning
from alexnet_impl.training.events import Stepped, Warned
from alexnet_impl.training.feeding import take_steps, training_batches
from alexnet_impl.training.state import RunState

Digested: TypeAlias = tuple[Any, str]
"""A batch (Batch or GatherIndices), and the digest of all bytes up to its end."""


def digested_batches(state: RunState) -> Iterator[Digested]:
    """Yields the rest of the epoch's batches with digests; runs on the prefetching thread."""
    progress = state.progress
    digest = progress.batches_sha256
    features = state.network.features
    for batch in training_batches(
        state.dataset.train, state.recipe, progress.epoch, progress.step_in_epoch
    ):
        digest = chain_digest(digest, batch)
        if features is not None and isinstance(batch, Batch):
            yield features.batch(batch), digest
        else:
            yield batch, digest


class EpochSteps:
    """The steps of one epoch of a run, from the first or from where it was interrupted."""

    def __init__(self, state: RunState) -> None:
        self.state = state
        self.clock = Clock(state.trainer)
        self.pending: list[tuple[Any, list[int]]] = []
        self.timed_steps = self.timed_images = 0  # since the last read, without first calls

    def calls(self, batches: Iterable[Digested]) -> Iterator[list[Digested]]:
        """Yields lists of batches of one size, each for one call of the trainer.

        A call has steps_per_call batches, fewer at the end of an epoch or a run.
        """
        call: list[Digested] = []
        for batch in batches:
            if call and len(batch[0]) != len(call[0][0]):
                yield call
                call = []
            call.append(batch)
            if len(call) >= self._steps_at_once():
                yield call
                call = []
        if call:
            yield call

    def _steps_at_once(self) -> int:
        """Returns the length of the next call: 1 while collapse checks come more often."""
        state, step = self.state, self.state.progress.step
        at_most = state.recipe.steps_per_call
        if state.watch is not None and state.watch.is_due_within(step, at_most):
            return 1
        return min(at_most, state.num_steps - step)

    def take(self, call: list[Digested]) -> None:
        """Takes one step per batch, and checks for a collapse before the first and after the last.

        Raises:
            CollapsedError: If the network has collapsed and the run is to stop then.
        """
        self._probe_first_step(call[0][0])
        self._step([batch for batch, _ in call])
        self.state.progress.batches_sha256 = call[-1][1]
        self._check_collapse()

    def _step(self, batches: list[Any]) -> None:
        state, progress = self.state, self.state.progress
        # Tracing, compilation and allocation happen once per process, steps a call and batch size.
        shape = len(batches), len(batches[0])
        is_first = shape not in state.shapes_seen
        if is_first:
            self.read()
        rates = [state.learning_rate(progress.step + place) for place in range(len(batches))]
        sizes = [len(batch) for batch in batches]
        self.pending.append((take_steps(state.trainer, batches, rates), sizes))
        state.history.step_learning_rate.extend(rates)
        progress.step += len(batches)
        progress.step_in_epoch += len(batches)
        if is_first:
            state.shapes_seen.add(shape)
            progress.first_step_time_s += self.clock.lap()
        else:
            self.timed_steps += len(sizes)
            self.timed_images += sum(sizes)
            progress.epoch_timed_images += sum(sizes)
            progress.timed_images += sum(sizes)

    def read(self) -> None:
        """Reads the pending losses back, which waits for the device, and adds up the time.

        Raises:
            DivergedError: If a loss just read is not finite.
        """
        state, progress = self.state, self.state.progress
        values = state.trainer.read([handle for handle, _ in self.pending])
        elapsed = self.clock.lap()
        progress.epoch_training_time_s += elapsed
        progress.training_time_s += elapsed
        counts = [count for _, sizes in self.pending for count in sizes]
        for value, count in zip(values, counts, strict=True):
            state.history.step_loss.append(value.loss)
            progress.epoch_images += count
            progress.epoch_loss_sum += value.loss * count
            progress.epoch_correct += value.num_correct
        self.pending.clear()
        losses = [value.loss for value in values]
        self._check_finite(losses)
        if losses:
            state.observer(
                Stepped(
                    step=progress.step,
                    num_steps=state.num_steps,
                    loss=losses[-1],
                    images_per_second=images_per_second(self.timed_images, elapsed),
                    epoch=progress.epoch + 1,
                    timed_steps=self.timed_steps,
                    timed_s=elapsed,
                )
            )
            self.timed_steps = self.timed_images = 0

    def _check_finite(self, losses: list[float]) -> None:
        """Raises DivergedError if a loss just read is not finite."""
        first = self.state.progress.step - len(losses) + 1
        for step, loss in enumerate(losses, start=first):
            if not math.isfinite(loss):
                raise self.state.diverged(f"the loss is {loss} at step {step}")

    def _probe_first_step(self, batch: Batch | GatherIndices) -> None:
        """Takes the first step on trial; warns of a collapse if it moves the outputs too far."""
        state, progress, watch = self.state, self.state.progress, self.state.watch
        if watch is None or progress.step > 0:
            return
        rate = state.learning_rate(0)
        if isinstance(batch, GatherIndices):
            shown = pick(state.dataset.train.images, batch, state.recipe.crop_padding)
            found = watch.probe_first_step(shown.images, batch.labels, rate, feed=batch)
        else:
            found = watch.probe_first_step(batch.images, batch.labels, rate)
        # The trial step traces, compiles and allocates what the first step would have.
        progress.first_step_time_s += found.trial_time_s
        progress.collapse = watch.report
        if text := collapse_warning(found.shift, state.spec, state.recipe):
            state.observer(Warned(message=f"{state.config.framework}: {text}"))
        self.clock.restart()

    def _check_collapse(self) -> None:
        """Checks in the first epoch, when a check is due, whether the network has collapsed."""
        state, watch = self.state, self.state.watch
        if watch is None or not watch.is_due(state.progress.step):
            return
        self.read()
        statistics = watch.check(state.progress.step)
        if statistics is not None:
            state.progress.collapse = watch.report
            text = collapse_text(statistics, state.recipe)
            if state.config.on_collapse == "stop":
                raise CollapsedError(f"{state.folder.path}: {text} History and weights are kept.")
            state.observer(Warned(message=f"{state.config.framework}: {text}"))
        self.clock.restart()
