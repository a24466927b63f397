"""The training loop, one for every framework: epochs, steps, evaluation, checkpoints.

It knows the Trainer protocol, NumPy batches and the run folder. It never waits for the device in a
step: losses are read back together, at the pace at which a person looks.
"""

import math
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from types import FrameType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.data import (
    Batch,
    BatchPlan,
    Dataset,
    Picks,
    Split,
    chain_digest,
    epoch_batches,
    epoch_picks,
    num_batches,
    pick,
    prefetch,
)
from alexnet_impl.data.download import file_digest
from alexnet_impl.errors import CollapsedError, DivergedError, RunError
from alexnet_impl.frameworks import DeviceTrainer, get_framework
from alexnet_impl.network.spec import Spec
from alexnet_impl.recipe.phases import Phase, phase_recipes, phases
from alexnet_impl.recipe.recipe import Recipe, learning_rate_at
from alexnet_impl.recipe.trainable import rate_factors, trainable_layers
from alexnet_impl.runs.folder import (
    NUM_SAMPLE_IMAGES,
    EpochRecord,
    History,
    Predictions,
    RunConfig,
    RunFolder,
    RunResult,
    Timing,
    environment_fingerprint,
    process_peak_memory_bytes,
    weights_sha256,
)
from alexnet_impl.training.collapse import (
    CollapseReport,
    CollapseWatch,
    collapse_text,
    foreboding,
    make_watch,
)
from alexnet_impl.training.evaluation import (
    eval_batch_size,
    mean_cross_entropy,
    predict_probabilities,
)
from alexnet_impl.training.features import (
    Features,
    cache_key,
    compute_features,
    cut_network,
    head_recipe,
    head_weights,
)
from alexnet_impl.training.initial_weights import (
    check_preprocessing,
    find_pretrained,
    start_weights,
)
from alexnet_impl.weights.canonical import Weights, initial_weights

READ_EVERY_S = 0.5
"""How often losses are read back from the device, for the progress bar and to catch NaN."""
CHECKPOINT_EVERY_S = 300.0
"""How often, beside the end of each epoch, a state to resume from is written."""


class Observer(Protocol):
    """Whoever shows a run's progress."""

    def prepared(self, what: str, done: int, total: int) -> None:
        """Called before the start, as often as something long goes on; in images."""

    def started(self, config: RunConfig, num_steps: int, step: int) -> None:
        """Called once, with the step to start from."""

    def stepped(self, step: int, num_steps: int, loss: float, images_per_second: float) -> None:
        """Called about twice a second; loss is the latest step's."""

    def warned(self, message: str) -> None:
        """Called where the run goes on all the same, but the user should know."""

    def epoch_ended(self, record: EpochRecord) -> None:
        """Called after each epoch's evaluation."""

    def ended(self, result: RunResult) -> None:
        """Called once, when the run has come to its end or was stopped."""


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


def start_run(
    folder_path: Any, config: RunConfig, dataset: Dataset, observer: Observer
) -> RunResult:
    """Train from the recipe's initial weights and write a run folder.

    Args:
        folder_path: A folder that is empty or not there yet.
        config: What to do.
        dataset: What config.data loads.
        observer: Is told of the progress.

    Returns:
        What is in result.json; its status says whether the run came to its end.

    Raises:
        AlexNetError: If the run cannot start; nothing is left behind then.
        DivergedError: If the loss is not finite any more; the folder keeps the last good state.
    """
    spec = check_run(config, dataset)
    _set_threads(config)
    weights = first_weights(config, spec)
    network = _make_network(config, spec, weights, dataset, observer)
    folder = RunFolder.create(
        folder_path,
        config,
        dataset,
        weights_sha256(weights),
        given_sha256=_given_sha256(config, spec),
    )
    folder.write_json("environment.json", _environment(config))
    run = _Run(folder, config, dataset, network, observer)
    return run.execute()


def check_run(config: RunConfig, dataset: Dataset) -> Spec:
    """The network of a run, once it is clear that these images can train it.

    Raises:
        UnknownNameError: If there is no such variant.
        SpecError: If the variant does not allow these numbers.
        DataError: If an epoch would not have a single batch.
        RecipeError: If no layer would learn, none is frozen whose features could be cached, or
            the weights it begins with were trained on other values than it feeds.
        WeightsError: If those weights are not to be had.
    """
    num_batches(batch_plan(config.recipe), len(dataset.train))
    spec = config.spec(dataset.num_classes)
    for recipe in phase_recipes(config.recipe):
        trainable_layers(spec, recipe)
    rate_factors(spec, config.recipe)
    if config.cache_features:
        cut_network(spec, config.recipe)
    if config.weights is not None:
        found = find_pretrained(
            config.weights, config.variant, spec.input_shape[1], framework=config.framework
        )
        check_preprocessing(config.recipe, found)
    return spec


def first_weights(config: RunConfig, spec: Spec) -> Weights:
    """What a run begins with: the weights it is given, else those that its recipe draws."""
    if config.weights is None:
        return initial_weights(spec, config.recipe)
    return start_weights(config.weights, spec, config.recipe, config.framework, config.width)


def _given_sha256(config: RunConfig, spec: Spec) -> str | None:
    if config.weights is None:
        return None
    found = find_pretrained(config.weights, config.variant, spec.input_shape[1])
    return file_digest(found.path, "sha256")


def resume_run(
    folder: RunFolder, dataset: Dataset, observer: Observer, *, weights: str | None = None
) -> RunResult:
    """Go on from the last checkpoint of a run that was interrupted or killed.

    Args:
        folder: The run.
        dataset: Its images.
        observer: Is told of the progress.
        weights: Where those that it was given lie now; by default where they lay.

    Raises:
        RunError: If the run is finished, diverged or collapsed, or the dataset or the weights it
            was given are others.
    """
    _check_resumable(folder, dataset)
    config = replace(folder.config, weights=weights or folder.config.weights)
    spec = config.spec(dataset.num_classes)
    _set_threads(config)
    begun = first_weights(config, spec)
    if config.weights is not None and weights_sha256(begun) != folder.initial_weights_sha256:
        raise RunError(
            f"{folder.path}: was started on other weights than {config.weights} gives; give the "
            "run its own weights back."
        )
    folder.clean()
    network = _make_network(config, spec, begun, dataset, observer)
    if not (folder.path / "environment.json").is_file():  # killed before it was written
        folder.write_json("environment.json", _environment(config))
    run = _Run(folder, config, dataset, network, observer)
    run.restore()
    return run.execute()


def _check_resumable(folder: RunFolder, dataset: Dataset) -> None:
    result = folder.result
    if result is not None and result.status == "finished":
        raise RunError(f"{folder.path}: this run is finished; there is nothing to resume.")
    if result is not None and result.status == "diverged":
        raise RunError(
            f"{folder.path}: this run diverged and would do so again; start a new one with a "
            "lower --recipe.learning-rate or with --recipe.clip-norm."
        )
    if result is not None and result.status == "collapsed":
        raise RunError(
            f"{folder.path}: this run collapsed and would not recover; start a new one with a "
            "lower --recipe.learning-rate, or with --on-collapse warn to let it go on."
        )
    recorded = folder.dataset.fingerprint
    if dataset.fingerprint != recorded:
        raise RunError(
            f"{folder.path}: was started on images with fingerprint {recorded[:12]}, but those "
            f"at hand have {dataset.fingerprint[:12]}; give the run its own images back."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Network:
    """What a run trains: the whole network, or the head behind features that are kept.

    Attributes:
        trainer: Of the first phase.
        spec: Of what it trains.
        features: In place of images; None where there are none.
        kept_weights: Those that are in no trainer: of the layers in front of the head.
    """

    trainer: DeviceTrainer
    spec: Spec
    features: Features | None
    kept_weights: Weights


def _set_threads(config: RunConfig) -> None:
    """Before a file of weights is read: TensorFlow starts its threads to read a backbone's."""
    if config.threads is not None:
        get_framework(config.framework).set_threads(config.threads)


def _make_network(
    config: RunConfig, spec: Spec, weights: Weights, dataset: Dataset, observer: Observer
) -> _Network:
    framework = get_framework(config.framework)
    recipe = phase_recipes(config.recipe)[0]
    trainer = framework.make_trainer(spec, recipe, weights, config.device)
    if not config.cache_features:
        return _Network(trainer=trainer, spec=spec, features=None, kept_weights={})
    cut = cut_network(spec, config.recipe)
    whole = trainer.weights()
    heads = head_weights(whole, cut)
    versions = framework.fingerprint(config.device)
    key = cache_key(whole, cut, recipe, dataset, versions)
    features = compute_features(trainer, cut, dataset, key, observer.prepared)
    del trainer  # its memory is free for the head's
    return _Network(
        trainer=framework.make_trainer(
            cut.head, head_recipe(recipe, spec, cut), heads, config.device
        ),
        spec=cut.head,
        features=features,
        kept_weights={name: array for name, array in whole.items() if name not in heads},
    )


def _environment(config: RunConfig) -> dict[str, Any]:
    framework = get_framework(config.framework).fingerprint(config.device)
    return environment_fingerprint() | {"framework": framework}


def batch_plan(recipe: Recipe) -> BatchPlan:
    """How a recipe cuts the training images into batches."""
    return BatchPlan(
        global_batch_size=recipe.global_batch_size,
        seed=recipe.seed,
        shuffle_buffer=recipe.shuffle_buffer,
        reshuffle=recipe.reshuffle,
        drop_last=recipe.drop_last,
        flip=recipe.flip,
        alternate_flips=recipe.alternate_flips,
        crop_padding=recipe.crop_padding,
    )


def epoch_digest(train: Split, recipe: Recipe) -> tuple[int, str]:
    """(number of batches, digest of all their bytes) of a recipe's first epoch."""
    count, digest = 0, ""
    for batch in epoch_batches(train, batch_plan(recipe), 0):
        count, digest = count + 1, chain_digest(digest, batch)
    return count, digest


def training_batches(
    train: Split, recipe: Recipe, epoch: int, start: int = 0
) -> Iterator[Batch] | Iterator[Picks]:
    """An epoch as the recipe feeds it: images, or places in those that the device holds.

    Args:
        train: The training images.
        recipe: Its seed, batch size and augmentation.
        epoch: Counted from 0.
        start: The first batch to give, counted from 0.
    """
    batches = epoch_picks if recipe.device_data else epoch_batches
    return batches(train, batch_plan(recipe), epoch, start)


def prefetch_depth(recipe: Recipe) -> int:
    """Batches made ahead: those of so many calls."""
    return recipe.prefetch * recipe.steps_per_call


def take_steps(
    trainer: DeviceTrainer,
    batches: Sequence[Batch] | Sequence[Picks],
    learning_rates: Sequence[float],
) -> Any:
    """As many steps as there are batches, in one call; gives the handle of them all."""
    labels = [batch.labels for batch in batches]
    feeds: Any = [batch if isinstance(batch, Picks) else batch.images for batch in batches]
    if len(feeds) == 1:
        return trainer.train_step(feeds[0], labels[0], learning_rates[0])
    return trainer.train_steps(feeds, labels, learning_rates)


class _Run:
    """One run from its first step, or from a checkpoint, to its end."""

    def __init__(
        self,
        folder: RunFolder,
        config: RunConfig,
        dataset: Dataset,
        network: _Network,
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
            self.trainer.hold(dataset.train.images, self.recipe.crop_padding)

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
            self.trainer.hold(self.dataset.train.images, self.recipe.crop_padding)
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
            self.watch.report = CollapseReport.from_dict(self.progress.collapse)
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
        clock = _Clock(self.trainer)
        last_save = time.perf_counter()
        try:
            for call in self._calls(batches):
                self._foresee(call[0][0], clock)
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

    def _take(self, batches: list[Any], clock: "_Clock") -> None:
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

    def _foresee(self, batch: Batch | Picks, clock: "_Clock") -> None:
        """Before the first step: warn of a collapse that a trial step lets one expect."""
        progress = self.progress
        if self.watch is None or progress.step > 0:
            return
        rate = self._rate(0)
        if isinstance(batch, Picks):
            shown = pick(self.dataset.train.images, batch, self.recipe.crop_padding)
            found = self.watch.foresee(shown.images, batch.labels, rate, feed=batch)
        else:
            found = self.watch.foresee(batch.images, batch.labels, rate)
        # The trial step traces, compiles and allocates what the first step would have.
        progress.first_step_time_s += found.trial_time_s
        progress.collapse = asdict(self.watch.report)
        if text := foreboding(found.shift, self.spec, self.recipe):
            self.observer.warned(f"{self.config.framework}: {text}")
        clock.restart()

    def _look(self, clock: "_Clock") -> None:
        """Now and then in the first epoch: whether the network has collapsed."""
        progress = self.progress
        if self.watch is None or not self.watch.is_due(progress.step):
            return
        self._read(clock)
        vitals = self.watch.look(progress.step)
        if vitals is not None:
            progress.collapse = asdict(self.watch.report)
            text = collapse_text(vitals, self.recipe)
            if self.config.on_collapse == "stop":
                raise CollapsedError(f"{self.folder.path}: {text} History and weights are kept.")
            self.observer.warned(f"{self.config.framework}: {text}")
        clock.restart()

    def _read(self, clock: "_Clock") -> None:
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
            rate = _rate(sum(counts), elapsed)
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
            images_per_second=_rate(progress.epoch_timed_images, progress.epoch_training_time_s),
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

    def _save(self, clock: "_Clock") -> None:
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
                images_per_second=_rate(progress.timed_images, progress.training_time_s),
            ),
            peak_memory_bytes=process_peak_memory_bytes(),
            peak_device_memory_bytes=self.trainer.peak_memory_bytes(),
            batches_sha256=progress.batches_sha256,
            collapse=CollapseReport.from_dict(progress.collapse) if progress.collapse else None,
        )
        self.folder.write_result(result)
        self.observer.ended(result)
        return result


def _rate(num_images: int, time_s: float) -> float:
    return num_images / time_s if time_s > 0 else 0.0


class _Clock:
    """Time since the last lap, taken when the device has finished its work."""

    def __init__(self, trainer: DeviceTrainer) -> None:
        self.trainer = trainer
        self.restart()

    def restart(self) -> None:
        """Begin a lap; what lies before it is not counted."""
        self.trainer.synchronize()
        self.started = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the lap began, and begin another."""
        self.trainer.synchronize()
        now = time.perf_counter()
        elapsed, self.started = now - self.started, now
        return elapsed

    def since_read(self) -> float:
        """Seconds since the lap began, without waiting for the device."""
        return time.perf_counter() - self.started
