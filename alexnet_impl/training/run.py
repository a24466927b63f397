"""The training loop, one for every framework: epochs, steps, evaluation, checkpoints.

It knows the Trainer protocol, NumPy batches and the run folder. It never waits for the device in a
step: losses are read back together, at the pace at which a person looks.
"""

import math
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.data.batches import Batch, GatherIndices, chain_digest, num_batches, pick
from alexnet_impl.data.dataset import Dataset, Split
from alexnet_impl.data.prefetch import prefetch
from alexnet_impl.errors import CollapsedError, DivergedError
from alexnet_impl.frameworks import get_framework
from alexnet_impl.recipe.phases import Phase, phases
from alexnet_impl.recipe.recipe import learning_rate_at
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.environment import process_peak_memory_bytes
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.runs.records import (
    NUM_SAMPLE_IMAGES,
    CollapseReport,
    EpochRecord,
    History,
    Predictions,
    RunResult,
    Timing,
)
from alexnet_impl.stats.accuracy import mean_cross_entropy
from alexnet_impl.training.clock import Clock, images_per_second
from alexnet_impl.training.collapse import (
    CollapseWatch,
    collapse_text,
    collapse_warning,
    make_watch,
)
from alexnet_impl.training.evaluation import eval_batch_size, predict_probabilities
from alexnet_impl.training.features import (
    head_recipe,
)
from alexnet_impl.training.feeding import batch_plan, prefetch_depth, take_steps, training_batches
from alexnet_impl.training.initial_weights import first_weights
from alexnet_impl.training.network import Network
from alexnet_impl.training.observers import Observer
from alexnet_impl.typed_json import read
from alexnet_impl.weights.canonical import Weights

READ_EVERY_S = 0.5
"""How often losses are read back from the device, for the progress bar and to catch NaN."""
CHECKPOINT_EVERY_S = 300.0
"""How often, beside the end of each epoch, a state to resume from is written."""


@dataclass(slots=True, kw_only=True)
class Progress:
    """Where a run stands: with the arrays of a checkpoint, all that resuming needs."""

    epoch: int = 0
    step: int = 0
    step_in_epoch: int = 0
    epoch_images: int = 0
    epoch_loss_sum: float = 0.0
    epoch_correct: int = 0
    epoch_timed_images: int = 0
    epoch_training_time_s: float = 0.0
    timed_images: int = 0
    first_step_time_s: float = 0.0
    training_time_s: float = 0.0
    evaluation_time_s: float = 0.0
    batches_sha256: str = ""
    collapse: dict[str, Any] | None = None


class _Run:
    """One run from its first step, or from a checkpoint, to its end."""

    def __init__(
        self,
        folder: RunFolder,
        config: RunConfig,
        dataset: Dataset,
        network: Network,
        observer: Observer,
    ) -> None:
        self.folder, self.config, self.recipe = folder, config, config.recipe
        self.dataset, self.network, self.observer = dataset, network, observer
        self.trainer = network.trainer
        self.spec = config.spec(dataset.num_classes)
        self.plan = batch_plan(self.recipe)
        self.batches_per_epoch = num_batches(self.plan, len(dataset.train))
        self.phases = phases(self.recipe, self.batches_per_epoch)
        self.num_steps = sum(phase.num_steps for phase in self.phases)
        self.phase = self.phases[0]
        self.progress, self.history = Progress(), History()
        self.pending: list[tuple[Any, list[int]]] = []
        self.test_probabilities: NDArray[np.float64] | None = None
        self.stop_asked = False
        self.shapes_seen: set[tuple[int, int]] = set()
        self.watch = self._watch()
        if self.recipe.device_data:
            self.trainer.put_dataset_on_device(dataset.train.images, self.recipe.crop_padding)

    def _begin_phase(self, phase: Phase, weights: Weights) -> None:
        """Another training on the weights of the one before: its own optimizer, its own layers."""
        self.phase = phase
        recipe, features = phase.recipe, self.network.features
        if features is not None:
            recipe = head_recipe(recipe, self.spec, features.cut)
        self.trainer = get_framework(self.config.framework).make_trainer(
            self.network.spec, recipe, weights, self.config.device
        )
        if self.recipe.device_data:
            self.trainer.put_dataset_on_device(self.dataset.train.images, self.recipe.crop_padding)
        self.shapes_seen.clear()  # it traces and allocates anew
        if self.watch is not None:
            self.watch.trainer = self.trainer

    def _rate(self, step: int) -> float:
        """The learning rate of one step of the run."""
        phase = self.phase
        return learning_rate_at(phase.recipe, step - phase.first_step, phase.num_steps)

    def _whole_weights(self) -> Weights:
        """Of the whole network, layers in front of the head included."""
        return self.network.kept_weights | self.trainer.weights()

    def _watch(self) -> CollapseWatch | None:
        """Over the first epoch; None where it is not wanted or there is nothing to see."""
        if self.config.on_collapse == "ignore" or self.network.features is not None:
            return None
        last_step = min(self.batches_per_epoch, self.num_steps)
        return make_watch(self.trainer, self.spec, self.dataset.train.images, last_step)

    def restore(self) -> None:
        """Take up the last checkpoint; without one, the run starts over from its seed."""
        found = self.folder.read_checkpoint()
        if found is None:
            return
        arrays, progress = found
        parts: dict[str, Weights] = {"weights": {}, "state": {}}
        for name, array in arrays.items():
            part, _, key = name.partition("/")
            parts[part][key] = array
        self.progress = Progress(**progress)
        phase = self._phase_of(self.progress.step)
        if phase is not self.phase:
            self._begin_phase(phase, parts["weights"])
        if self.progress.step > phase.first_step or phase is self.phases[0]:
            self.trainer.restore(parts["weights"], parts["state"])
        if self.watch is not None and self.progress.collapse is not None:
            self.watch.report = read(CollapseReport, self.progress.collapse)
        history = self.folder.history
        self.history = History(
            epochs=history.epochs[: self.progress.epoch],
            step_loss=history.step_loss[: self.progress.step],
            step_learning_rate=history.step_learning_rate[: self.progress.step],
        )

    def _phase_of(self, step: int) -> Phase:
        """The phase that the next step belongs to, by the steps taken."""
        begun = [phase for phase in self.phases if phase.first_step <= step]
        return begun[-1]

    def execute(self) -> RunResult:
        """Train to the end, or until somebody asks to stop."""
        self.observer.started(self.config, self.num_steps, self.progress.step)
        try:
            with self._stop_on_signals():
                while self.progress.step < self.num_steps and not self.stop_asked:
                    if (phase := self._phase_of(self.progress.step)) is not self.phase:
                        self._begin_phase(phase, self.trainer.weights())
                    self._train_epoch()
            if self.progress.step < self.num_steps:
                return self._end("interrupted", "stopped by the user")
            return self._finish()
        except CollapsedError as error:
            self.folder.write_history(self.history)
            self.folder.write_weights(self._whole_weights(), self.spec)
            return self._end("collapsed", str(error))
        except DivergedError as error:
            self._keep_last_good_weights()
            self._end("diverged", str(error))
            raise

    @contextmanager
    def _stop_on_signals(self) -> Iterator[None]:
        """The first Ctrl-C or SIGTERM lets the step end and the state be saved."""

        def ask(number: int, _: FrameType | None) -> None:
            self.stop_asked = True
            signal.signal(number, before[number])

        main = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGINT, signal.SIGTERM) if main else ()
        before: dict[int, Any] = {number: signal.signal(number, ask) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _train_epoch(self) -> None:
        progress = self.progress
        batches = prefetch(
            self._digested(progress.epoch, progress.step_in_epoch), prefetch_depth(self.recipe)
        )
        clock = Clock(self.trainer)
        last_save = time.perf_counter()
        try:
            for call in self._calls(batches):
                self._probe_first_step(call[0][0], clock)
                self._take([batch for batch, _ in call], clock)
                progress.batches_sha256 = call[-1][1]
                self._look(clock)
                if clock.since_read() > READ_EVERY_S:
                    self._read(clock)
                if time.perf_counter() - last_save > CHECKPOINT_EVERY_S and not self.stop_asked:
                    self._save(clock)
                    last_save = time.perf_counter()
                if self.stop_asked or progress.step == self.num_steps:
                    break
        finally:
            batches.close()
        self._read(clock)
        epoch_done = progress.step_in_epoch == self.batches_per_epoch
        if epoch_done or progress.step == self.num_steps:
            self._end_epoch()
            clock.restart()  # evaluation is accounted for by itself
        self._save(clock)

    def _digested(self, epoch: int, start: int) -> Iterator[tuple[Any, str]]:
        """Batches with the digest of all bytes up to them; runs on the prefetching thread."""
        digest = self.progress.batches_sha256
        for batch in training_batches(self.dataset.train, self.recipe, epoch, start):
            digest = chain_digest(digest, batch)
            features = self.network.features
            if features is not None and isinstance(batch, Batch):
                yield features.batch(batch), digest
            else:
                yield batch, digest

    def _calls(self, batches: Iterable[tuple[Any, str]]) -> Iterator[list[tuple[Any, str]]]:
        """What is asked for at once: steps_per_call batches of one size, less where steps end."""
        call: list[tuple[Any, str]] = []
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
        """Of the next call: one as long as the watch looks more often than whole calls end."""
        left = self.num_steps - self.progress.step
        if self.watch is not None and self.watch.looks_within(
            self.progress.step, self.recipe.steps_per_call
        ):
            return 1
        return min(self.recipe.steps_per_call, left)

    def _take(self, batches: list[Any], clock: Clock) -> None:
        progress = self.progress
        # Tracing, compilation and allocation happen once per process, steps a call and batch size.
        shape = len(batches), len(batches[0])
        is_first = shape not in self.shapes_seen
        if is_first:
            self._read(clock)
        steps = range(progress.step, progress.step + len(batches))
        rates = [self._rate(step) for step in steps]
        sizes = [len(batch) for batch in batches]
        self.pending.append((take_steps(self.trainer, batches, rates), sizes))
        self.history.step_learning_rate.extend(rates)
        progress.step += len(batches)
        progress.step_in_epoch += len(batches)
        if is_first:
            self.shapes_seen.add(shape)
            progress.first_step_time_s += clock.lap()
        else:
            progress.epoch_timed_images += sum(sizes)
            progress.timed_images += sum(sizes)

    def _probe_first_step(self, batch: Batch | GatherIndices, clock: Clock) -> None:
        """Before the first step: warn of a collapse that a trial step lets one expect."""
        progress = self.progress
        if self.watch is None or progress.step > 0:
            return
        rate = self._rate(0)
        if isinstance(batch, GatherIndices):
            shown = pick(self.dataset.train.images, batch, self.recipe.crop_padding)
            found = self.watch.probe_first_step(shown.images, batch.labels, rate, feed=batch)
        else:
            found = self.watch.probe_first_step(batch.images, batch.labels, rate)
        # The trial step traces, compiles and allocates what the first step would have.
        progress.first_step_time_s += found.trial_time_s
        progress.collapse = asdict(self.watch.report)
        if text := collapse_warning(found.shift, self.spec, self.recipe):
            self.observer.warned(f"{self.config.framework}: {text}")
        clock.restart()

    def _look(self, clock: Clock) -> None:
        """Now and then in the first epoch: whether the network has collapsed."""
        progress = self.progress
        if self.watch is None or not self.watch.is_due(progress.step):
            return
        self._read(clock)
        statistics = self.watch.look(progress.step)
        if statistics is not None:
            progress.collapse = asdict(self.watch.report)
            text = collapse_text(statistics, self.recipe)
            if self.config.on_collapse == "stop":
                raise CollapsedError(f"{self.folder.path}: {text} History and weights are kept.")
            self.observer.warned(f"{self.config.framework}: {text}")
        clock.restart()

    def _read(self, clock: Clock) -> None:
        """Read the pending losses back, which waits for the device, and account for the time."""
        values = self.trainer.read([handle for handle, _ in self.pending])
        elapsed = clock.lap()
        progress = self.progress
        progress.epoch_training_time_s += elapsed
        progress.training_time_s += elapsed
        counts = [count for _, sizes in self.pending for count in sizes]
        for value, count in zip(values, counts, strict=True):
            self.history.step_loss.append(value.loss)
            progress.epoch_images += count
            progress.epoch_loss_sum += value.loss * count
            progress.epoch_correct += value.num_correct
        self.pending.clear()
        if values:
            self._check_finite([value.loss for value in values])
            rate = images_per_second(sum(counts), elapsed)
            self.observer.stepped(progress.step, self.num_steps, values[-1].loss, rate)

    def _check_finite(self, losses: list[float]) -> None:
        """Of the latest steps."""
        for step, loss in enumerate(losses, start=self.progress.step - len(losses) + 1):
            if not math.isfinite(loss):
                raise DivergedError(self._divergence(f"the loss is {loss} at step {step}"))

    def _divergence(self, what: str) -> str:
        return (
            f"{self.folder.path}: {what} of {self.num_steps} (learning_rate="
            f"{self.recipe.learning_rate:g}, precision={self.recipe.precision}); try a lower "
            "--recipe.learning-rate or --recipe.clip-norm 1. The weights of the last good "
            "checkpoint, or else the initial ones, are kept."
        )

    def _end_epoch(self) -> None:
        progress = self.progress
        split_name = "validation" if self.dataset.validation else "test"
        split = self.dataset.validation or self.dataset.test
        started = time.perf_counter()
        loss, accuracy, probabilities = self._evaluate(split)
        evaluation_time_s = time.perf_counter() - started
        progress.evaluation_time_s += evaluation_time_s
        if split_name == "test":
            self.test_probabilities = probabilities
        record = EpochRecord(
            epoch=progress.epoch + 1,
            step=progress.step,
            loss=progress.epoch_loss_sum / progress.epoch_images,
            train_top1_accuracy=progress.epoch_correct / progress.epoch_images,
            evaluated_on=split_name,
            eval_loss=loss,
            eval_top1_accuracy=accuracy,
            learning_rate=self.history.step_learning_rate[-1],
            training_time_s=progress.epoch_training_time_s,
            evaluation_time_s=evaluation_time_s,
            images_per_second=images_per_second(
                progress.epoch_timed_images, progress.epoch_training_time_s
            ),
        )
        self.history.epochs.append(record)
        self.observer.epoch_ended(record)
        self.progress = replace(
            progress,
            epoch=progress.epoch + 1,
            step_in_epoch=0,
            epoch_images=0,
            epoch_loss_sum=0.0,
            epoch_correct=0,
            epoch_timed_images=0,
            epoch_training_time_s=0.0,
        )

    def _evaluate(self, split: Split) -> tuple[float, float, NDArray[np.float64]]:
        """(mean cross-entropy, top-1 accuracy, probabilities)."""
        features = self.network.features
        fed = split if features is None else features.of(split, self.dataset)
        probabilities = predict_probabilities(
            self.trainer,
            fed,
            batch_size=eval_batch_size(self.spec.input_shape[1]),
            flip=self.recipe.eval_flip,
        )
        if not np.isfinite(probabilities).all():
            where = f"probabilities are not finite after step {self.progress.step}"
            raise DivergedError(self._divergence(where))
        loss = mean_cross_entropy(probabilities, split.labels)
        return loss, float((probabilities.argmax(1) == split.labels).mean()), probabilities

    def _save(self, clock: Clock) -> None:
        """Write history and checkpoint; the last epoch's history first, so that none is lost."""
        self._read(clock)
        weights = self.trainer.weights()
        for name, array in weights.items():
            if not np.isfinite(array).all():
                where = f"{name} holds values that are not finite after step {self.progress.step}"
                raise DivergedError(self._divergence(where))
        arrays = {f"weights/{name}": array for name, array in weights.items()}
        arrays |= {f"state/{name}": array for name, array in self.trainer.state().items()}
        self.folder.write_history(self.history)
        self.folder.write_checkpoint(arrays, asdict(self.progress))
        clock.restart()

    def _keep_last_good_weights(self) -> None:
        """What was learned before the loss broke, or the initial weights if nothing was."""
        found = self.folder.read_checkpoint()
        if found is None:
            weights = first_weights(self.config, self.spec)
        else:
            arrays, _ = found
            prefix = "weights/"
            weights = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
            weights = self.network.kept_weights | weights
        self.folder.write_history(self.history)
        self.folder.write_weights(weights, self.spec)

    def _finish(self) -> RunResult:
        """Measure the test images, write what is to be kept, and drop the checkpoint."""
        split = self.dataset.test
        if self.test_probabilities is None:
            started = time.perf_counter()
            self.test_probabilities = self._evaluate(split)[2]
            self.progress.evaluation_time_s += time.perf_counter() - started
        probabilities = self.test_probabilities.astype(np.float32)
        rng = np.random.default_rng(self.recipe.seed)
        samples = np.sort(rng.permutation(len(split))[:NUM_SAMPLE_IMAGES])
        self.folder.write_weights(self._whole_weights(), self.spec)
        self.folder.write_predictions(
            Predictions(
                probabilities=probabilities,
                labels=split.labels,
                sample_indices=samples,
                sample_images=split.images[samples],
            )
        )
        result = self._end("finished")
        self.folder.remove_checkpoint()
        return result

    def _end(self, status: Any, message: str = "") -> RunResult:
        progress = self.progress
        loss = accuracy = None
        if status == "finished" and self.test_probabilities is not None:
            labels = self.dataset.test.labels
            loss = mean_cross_entropy(self.test_probabilities, labels)
            accuracy = float((self.test_probabilities.argmax(1) == labels).mean())
        result = RunResult(
            status=status,
            message=message,
            steps=progress.step,
            test_loss=loss,
            test_top1_accuracy=accuracy,
            timing=Timing(
                first_step_time_s=progress.first_step_time_s,
                training_time_s=progress.training_time_s,
                evaluation_time_s=progress.evaluation_time_s,
                images_per_second=images_per_second(
                    progress.timed_images, progress.training_time_s
                ),
            ),
            peak_memory_bytes=process_peak_memory_bytes(),
            peak_device_memory_bytes=self.trainer.peak_memory_bytes(),
            batches_sha256=progress.batches_sha256,
            collapse=read(CollapseReport, progress.collapse) if progress.collapse else None,
        )
        self.folder.write_result(result)
        self.observer.ended(result)
        return result
