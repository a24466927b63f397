"""The training loop around a NumPy trainer: averages, interruptions, crashes, resumed runs."""

import json
import math
import os
import signal
from dataclasses import asdict, replace

import numpy as np
import pytest
from support import fake_framework
from support.fake_framework import (
    FakeTrainer,
    Killed,
    RecordingObserver,
    at_step,
    break_at,
    interrupt_at,
    kill_at,
    linear_config,
)
from support.leftovers import write_leftover
from support.starting import resume_run, start_run

from alexnet_impl.data.batches import chain_digest, epoch_batches
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.errors import (
    DataError,
    DivergedError,
    RunError,
    SpecError,
    UnknownNameError,
    WeightsError,
)
from alexnet_impl.machine import interference
from alexnet_impl.recipe.recipe import Recipe, learning_rate_at
from alexnet_impl.runs import folder as folders
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.runs.records import NUM_WRONG_IMAGES
from alexnet_impl.stats.accuracy import mean_cross_entropy, softmax
from alexnet_impl.training import epoch_end, start, stopping
from alexnet_impl.training import run as training
from alexnet_impl.training.ending import kept_wrong
from alexnet_impl.training.events import Evaluating, Started, Stepped
from alexnet_impl.training.feeding import batch_plan
from alexnet_impl.weights import safetensors_io as weights_module
from alexnet_impl.weights.canonical import weights_sha256
from alexnet_impl.weights.initializers import initial_weights

pytestmark = pytest.mark.fast

DATA = DataConfig(dataset="synthetic", train_images=50, test_images=30, image_size=4)
RECIPE = Recipe(
    learning_rate=0.25,
    schedule="one-cycle",
    warmup=0.25,
    epochs=3,
    global_batch_size=16,
    flip=True,
    crop_padding=1,
    seed=5,
)
STEPS_PER_EPOCH = 4  # 16 + 16 + 16 + 2 images
NUM_STEPS = 12
TIMES = ("training_time_s", "evaluation_time_s", "images_per_second")


@pytest.fixture(autouse=True)
def framework(monkeypatch):
    """The NumPy framework in the place of every other."""
    return fake_framework.install(monkeypatch)


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(DATA)


def config_of(recipe=RECIPE):
    return linear_config(recipe, DATA)


def train(path, dataset, recipe=RECIPE, observer=None):
    return start_run(path, config_of(recipe), dataset, observer or RecordingObserver())


def resume(path, dataset, observer=None):
    return resume_run(RunFolder.open(path), dataset, observer or RecordingObserver())


def reference_loop(dataset, recipe=RECIPE, num_steps=NUM_STEPS):
    """The same training without a run folder, clocks or checkpoints."""
    trainer = FakeTrainer(recipe, initial_weights(config_of(recipe).spec(10), recipe))
    digest, values, epoch, step = "", [], 0, 0
    while step < num_steps:
        for batch in epoch_batches(dataset.train, batch_plan(recipe), epoch):
            rate = learning_rate_at(recipe, step, num_steps)
            values.append((trainer.train_step(batch.images, batch.labels, rate), len(batch), rate))
            digest = chain_digest(digest, batch)
            step += 1
            if step == num_steps:
                break
        epoch += 1
    return trainer, values, digest


def without_times(record):
    return {name: value for name, value in asdict(record).items() if name not in TIMES}


def assert_same_run(path, other):
    """Both folders say the same, to the last bit, but for their times."""
    one, two = RunFolder.open(path), RunFolder.open(other)
    assert weights_sha256(one.read_weights()) == weights_sha256(two.read_weights())
    assert one.result.batches_sha256 == two.result.batches_sha256
    assert one.result.status == two.result.status == "finished"
    assert one.result.steps == two.result.steps
    assert one.result.test_loss == two.result.test_loss
    assert one.history.step_loss == two.history.step_loss
    assert one.history.step_learning_rate == two.history.step_learning_rate
    epochs = [[without_times(r) for r in folder.history.epochs] for folder in (one, two)]
    assert epochs[0] == epochs[1]
    probabilities = [folder.read_predictions().probabilities for folder in (one, two)]
    assert np.array_equal(*probabilities)
    assert sorted(p.name for p in one.path.iterdir()) == sorted(p.name for p in two.path.iterdir())


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, dataset):
    """An uninterrupted run."""
    path = tmp_path_factory.mktemp("uninterrupted") / "run"
    with pytest.MonkeyPatch.context() as patch:
        fake_framework.install(patch)
        train(path, dataset)
    return path


def test_run_equals_the_reference_loop_bit_for_bit(uninterrupted, dataset):
    trainer, values, digest = reference_loop(dataset)
    folder = RunFolder.open(uninterrupted)
    assert weights_sha256(folder.read_weights()) == weights_sha256(trainer.weights())
    assert folder.history.step_loss == [value.loss for value, _, _ in values]
    assert folder.history.step_learning_rate == [rate for _, _, rate in values]
    assert folder.result.batches_sha256 == digest


def test_events_count_and_time_every_step_but_the_first_calls(tmp_path, dataset):
    """Two batch sizes have a first call each; their images took no time, so they count for none."""
    events = []
    result = train(tmp_path / "run", dataset, observer=events.append)
    (started,) = (event for event in events if isinstance(event, Started))
    assert started.evaluated_images == 3 * 30
    steps = [event for event in events if isinstance(event, Stepped)]
    assert sum(event.timed_steps for event in steps) == NUM_STEPS - 2
    timed_s = sum(event.timed_s for event in steps)
    assert 0 < timed_s < 1.001 * result.timing.training_time_s
    images = sum(event.images_per_second * event.timed_s for event in steps)
    assert round(images) == 3 * 50 - 16 - 2
    assert [event.epoch for event in steps] == sorted(event.epoch for event in steps)
    assert {event.epoch for event in steps} == {1, 2, 3}
    evaluated = [event.done for event in events if isinstance(event, Evaluating)]
    assert evaluated == [30] * 3


def test_run_learns(tmp_path, dataset):
    """Labels of the synthetic images can be learned: the loop feeds images and labels together."""
    recipe = Recipe(learning_rate=0.1, epochs=10, global_batch_size=16)
    assert train(tmp_path / "run", dataset, recipe).test_top1_accuracy > 0.9
    epochs = RunFolder.open(tmp_path / "run").history.epochs
    assert epochs[-1].loss < epochs[0].loss / 2


def test_epoch_loss_weighs_each_batch_by_its_images(uninterrupted, dataset):
    """The last batch has 2 images of 50, not a quarter of the weight."""
    values = reference_loop(dataset)[1]
    history = RunFolder.open(uninterrupted).history
    for number, record in enumerate(history.epochs):
        part = values[number * STEPS_PER_EPOCH :][:STEPS_PER_EPOCH]
        assert [count for _, count, _ in part] == [16, 16, 16, 2]
        weighted = sum(value.loss * count for value, count, _ in part) / 50
        assert record.loss == pytest.approx(weighted, rel=1e-12)
        assert record.loss != pytest.approx(sum(value.loss for value, _, _ in part) / 4)
        correct = sum(value.num_correct for value, _, _ in part)
        assert record.train_top1_accuracy == correct / 50


def test_epoch_records_are_numbered_and_measured_on_the_test_images(uninterrupted):
    history = RunFolder.open(uninterrupted).history
    assert [(r.epoch, r.step) for r in history.epochs] == [(1, 4), (2, 8), (3, 12)]
    assert {r.evaluated_on for r in history.epochs} == {"test"}
    assert [r.learning_rate for r in history.epochs] == history.step_learning_rate[3::4]


def test_finished_folder_has_its_files_and_no_checkpoint(uninterrupted):
    names = {path.name for path in uninterrupted.iterdir()}
    assert names == {
        "run.json",
        "environment.json",
        "history.json",
        "weights.safetensors",
        "predictions.npz",
        "result.json",
    }
    environment = RunFolder.open(uninterrupted).environment
    assert environment["framework"] == {"name": "numpy", "device": "auto"}


def test_result_is_that_of_the_final_weights(uninterrupted, dataset):
    folder = RunFolder.open(uninterrupted)
    trainer = FakeTrainer(RECIPE, folder.read_weights())
    probabilities = softmax(trainer.logits(dataset.test.images))
    labels = dataset.test.labels
    result = folder.finished_result()
    assert result.test_loss == pytest.approx(mean_cross_entropy(probabilities, labels))
    assert result.test_top1_accuracy == (probabilities.argmax(1) == labels).mean()
    predictions = folder.read_predictions()
    assert predictions.probabilities == pytest.approx(probabilities, abs=1e-6)
    assert np.array_equal(predictions.labels, labels)
    samples = dataset.test.images[predictions.sample_indices]
    assert np.array_equal(predictions.sample_images, samples)
    assert len(set(predictions.sample_indices.tolist())) == 24
    wrong = np.flatnonzero(probabilities.argmax(1) != labels)
    assert 0 < len(wrong) <= NUM_WRONG_IMAGES
    assert np.array_equal(predictions.wrong_indices, wrong)
    assert np.array_equal(predictions.wrong_images, dataset.test.images[wrong])


def test_wrong_images_that_are_kept_are_the_same_ones_in_every_run():
    """Files are often sorted by class: the kept ones come from all over the test images."""
    is_wrong = np.arange(10_000) % 5 > 0
    kept = kept_wrong(is_wrong)
    assert len(kept) == NUM_WRONG_IMAGES
    assert is_wrong[kept].all()
    assert kept.min() < 2_000
    assert kept.max() > 8_000
    fewer = is_wrong & (np.arange(10_000) % 7 > 0)
    assert set(kept[fewer[kept]]) <= set(kept_wrong(fewer))


@pytest.mark.parametrize(
    ("steps_per_call", "device_data"), [(2, False), (3, True), (100, False), (100, True)]
)
def test_neither_calls_nor_the_place_of_the_images_change_a_run(
    tmp_path, dataset, uninterrupted, steps_per_call, device_data
):
    recipe = replace(RECIPE, steps_per_call=steps_per_call, device_data=device_data)
    observer = RecordingObserver()
    result = train(tmp_path / "run", dataset, recipe, observer)
    one, two = RunFolder.open(uninterrupted), RunFolder.open(tmp_path / "run")
    assert weights_sha256(one.read_weights()) == weights_sha256(two.read_weights())
    assert one.history.step_loss == two.history.step_loss
    assert one.history.step_learning_rate == two.history.step_learning_rate
    same_digest = result.batches_sha256 == one.result.batches_sha256
    assert same_digest is not device_data  # on the device it is the digest of gather indices


@pytest.mark.parametrize("steps", [5, 6, 7])
def test_a_call_takes_no_step_beyond_the_last(tmp_path, dataset, framework, steps):
    recipe = replace(RECIPE, steps=steps, steps_per_call=3)
    assert train(tmp_path / "run", dataset, recipe).steps == steps
    assert framework.trainer.steps_taken == steps


def test_a_run_on_a_dataset_on_the_device_continues_to_the_same_bits(tmp_path, dataset, framework):
    recipe = replace(RECIPE, device_data=True, steps_per_call=2)
    train(tmp_path / "whole", dataset, recipe)
    kill(tmp_path / "run", dataset, framework, 7, recipe)
    resume(tmp_path / "run", dataset)
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_run_states_the_weights_that_it_started_from(uninterrupted):
    drawn = initial_weights(config_of().spec(10), RECIPE)
    assert RunFolder.open(uninterrupted).initial_weights_sha256 == weights_sha256(drawn)


def test_validation_images_are_evaluated_where_there_are_any(tmp_path):
    dataset = load_dataset(DATA, validation_fraction=0.2, seed=5)
    train(tmp_path / "run", dataset, replace(RECIPE, validation_fraction=0.2))
    folder = RunFolder.open(tmp_path / "run")
    assert {r.evaluated_on for r in folder.history.epochs} == {"validation"}
    assert folder.dataset.num_validation_images == len(dataset.validation) == 10
    trainer = FakeTrainer(RECIPE, folder.read_weights())
    accuracies = {
        name: float((trainer.logits(split.images).argmax(1) == split.labels).mean())
        for name, split in (("validation", dataset.validation), ("test", dataset.test))
    }
    assert folder.history.epochs[-1].eval_top1_accuracy == accuracies["validation"]
    assert folder.result.test_top1_accuracy == accuracies["test"]


@pytest.mark.parametrize("num_images", [64, 320])
def test_run_waits_for_the_device_by_epoch_not_by_step(
    tmp_path, framework, monkeypatch, num_images
):
    monkeypatch.setattr(training, "READ_EVERY_S", math.inf)  # a slow machine reads more often
    data = replace(DATA, train_images=num_images)
    recipe = replace(RECIPE, epochs=2, global_batch_size=8)
    config = linear_config(recipe, data)
    start_run(tmp_path / "run", config, load_dataset(data), RecordingObserver())
    trainer = framework.trainer
    assert trainer.steps_taken == 2 * num_images // 8
    assert sum(trainer.reads) == trainer.steps_taken
    assert len([count for count in trainer.reads if count]) == 2
    assert trainer.waits <= 12


def test_losses_are_read_and_shown_twice_a_second(tmp_path, dataset, monkeypatch):
    monkeypatch.setattr(training, "READ_EVERY_S", -1.0)
    observer = RecordingObserver()
    train(tmp_path / "run", dataset, observer=observer)
    losses = RunFolder.open(tmp_path / "run").history.step_loss
    assert observer.steps == list(enumerate(losses, start=1))


def test_observer_is_told_of_start_epochs_and_end(tmp_path, dataset):
    observer = RecordingObserver()
    result = train(tmp_path / "run", dataset, observer=observer)
    assert (observer.started_at, observer.num_steps) == (0, NUM_STEPS)
    assert observer.epochs == RunFolder.open(tmp_path / "run").history.epochs
    assert observer.results == [result]


def test_timing_leaves_the_first_step_out(tmp_path, dataset, framework, monkeypatch):
    """With a clock that each step moves by 2 s, and the first by 100 s more.

    The first step of the epoch's smaller last batch may compile as well: it is left out, too.
    """
    now = [0.0]
    monkeypatch.setattr(training.time, "perf_counter", lambda: now[0])

    def tick(_, step):
        now[0] += 102 if step == 1 else 2

    framework.before_step = tick
    result = train(tmp_path / "run", dataset)
    assert result.timing.first_step_time_s == 104
    assert result.timing.training_time_s == 20
    assert result.timing.images_per_second == (150 - 16 - 2) / 20
    first, second, _ = RunFolder.open(tmp_path / "run").history.epochs
    assert (first.training_time_s, first.images_per_second) == (4, (50 - 16 - 2) / 4)
    assert (second.training_time_s, second.images_per_second) == (8, 50 / 8)


def test_threads_are_set_before_weights_are_read(tmp_path, dataset, framework, monkeypatch):
    """TensorFlow computes when it reads a backbone's file, and starts its threads once."""
    first_weights, threads = start.first_weights, []

    def read(*arguments):
        threads.append(framework.threads)
        return first_weights(*arguments)

    monkeypatch.setattr(start, "first_weights", read)
    framework.before_step = interrupt_at(3)
    config = replace(config_of(), threads=3)
    start_run(tmp_path / "run", config, dataset, RecordingObserver())
    framework.threads = None
    resume_run(RunFolder.open(tmp_path / "run"), dataset, RecordingObserver())
    assert threads == [3, 3]


def test_steps_end_a_run_in_the_middle_of_an_epoch(tmp_path, dataset):
    recipe = replace(RECIPE, steps=6)
    result = train(tmp_path / "run", dataset, recipe)
    folder = RunFolder.open(tmp_path / "run")
    trainer, values, digest = reference_loop(dataset, recipe, 6)
    assert (result.status, result.steps, result.batches_sha256) == ("finished", 6, digest)
    assert weights_sha256(folder.read_weights()) == weights_sha256(trainer.weights())
    assert [(r.epoch, r.step) for r in folder.history.epochs] == [(1, 4), (2, 6)]
    mean = np.mean([value.loss for value, _, _ in values[4:6]])
    assert folder.history.epochs[1].loss == pytest.approx(mean)


def test_steps_go_on_past_the_epochs(tmp_path, dataset):
    result = train(tmp_path / "run", dataset, replace(RECIPE, epochs=1, steps=9))
    assert result.steps == 9
    assert len(RunFolder.open(tmp_path / "run").history.epochs) == 3


def test_drop_last_leaves_the_small_batch_out(tmp_path, dataset):
    result = train(tmp_path / "run", dataset, replace(RECIPE, drop_last=True))
    assert result.steps == 9


@pytest.mark.parametrize(
    ("recipe", "changes", "error", "message"),
    [
        (
            replace(RECIPE, global_batch_size=51, drop_last=True),
            {},
            DataError,
            "50 images give no batch of global_batch_size=51 with drop_last=True",
        ),
        (RECIPE, {"variant": "liner"}, UnknownNameError, "Unknown variant 'liner'.*'linear'"),
        (RECIPE, {"width": 0.0}, SpecError, "width=0.0 must be above 0"),
        (
            replace(RECIPE, input_size=8),
            {"variant": "cifar"},
            SpecError,
            "pool5: the map shrinks below 1",
        ),
    ],
    ids=["batch too large", "unknown variant", "no width", "input too small"],
)
def test_run_that_cannot_be_is_refused_before_a_folder_is_made(
    tmp_path, dataset, recipe, changes, error, message
):
    config = replace(config_of(recipe), **changes)
    with pytest.raises(error, match=message):
        start_run(tmp_path / "run", config, dataset, RecordingObserver())
    assert list(tmp_path.iterdir()) == []


# ---- the loss breaks


@pytest.mark.parametrize(
    ("loss", "step", "good_steps"),
    [(math.nan, 1, 0), (math.inf, 4, 0), (-math.inf, 6, 4), (math.nan, 12, 8)],
)
def test_broken_loss_stops_the_run_and_keeps_the_last_good_weights(
    tmp_path, dataset, framework, loss, step, good_steps
):
    framework.before_step = break_at(step, loss)
    with pytest.raises(DivergedError) as caught:
        train(tmp_path / "run", dataset)
    folder = RunFolder.open(tmp_path / "run")
    message = str(caught.value)
    assert message == (
        f"{folder.path}: the loss is {loss} at step {step} of 12 (learning_rate=0.25, "
        "precision=float32); try a lower --recipe.learning-rate or --recipe.clip-norm 1. The "
        "weights of the last good checkpoint are kept, or the initial ones if there is none."
    )
    assert (folder.result.status, folder.result.message) == ("diverged", message)
    assert folder.result.test_top1_accuracy is None
    good = _weights_after(dataset, good_steps)
    assert weights_sha256(folder.read_weights()) == weights_sha256(good)
    assert len(folder.history.epochs) == good_steps // STEPS_PER_EPOCH
    assert not math.isfinite(folder.history.step_loss[step - 1])


def _weights_after(dataset, steps):
    """Of the first `steps` steps of a run of NUM_STEPS."""
    trainer = FakeTrainer(RECIPE, initial_weights(config_of().spec(10), RECIPE))
    for step in range(steps):
        epoch, number = divmod(step, STEPS_PER_EPOCH)
        batch = next(epoch_batches(dataset.train, batch_plan(RECIPE), epoch, start=number))
        rate = learning_rate_at(RECIPE, step, NUM_STEPS)
        trainer.train_step(batch.images, batch.labels, rate)
    return trainer.weights()


def test_broken_loss_is_noticed_twice_a_second(tmp_path, dataset, framework, monkeypatch):
    monkeypatch.setattr(training, "READ_EVERY_S", -1.0)
    framework.before_step = break_at(2, math.nan)
    with pytest.raises(DivergedError, match="the loss is nan at step 2 of 12"):
        train(tmp_path / "run", dataset)
    assert framework.trainer.steps_taken == 2


@pytest.mark.parametrize("value", [math.nan, math.inf], ids=str)
def test_weights_that_are_not_finite_stop_the_run_though_the_loss_is(
    tmp_path, dataset, framework, value
):
    """One dead weight of a class that the softmax still survives: an infinite bias downwards."""

    def spoil(trainer):
        bias = np.full(10, value, np.float32)
        trainer.logits = lambda images: np.zeros((len(images), 10), np.float32)
        trainer.weights = lambda: {"fc1.weight": trainer.kernel, "fc1.bias": bias}

    framework.before_step = at_step(8, spoil)
    message = "fc1.bias holds values that are not finite after step 8 of 12"
    with pytest.raises(DivergedError, match=message):
        train(tmp_path / "run", dataset)
    folder = RunFolder.open(tmp_path / "run")
    assert folder.result.status == "diverged"
    good = _weights_after(dataset, 4)
    assert weights_sha256(folder.read_weights()) == weights_sha256(good)


def test_logits_that_are_not_finite_stop_the_run(tmp_path, dataset, framework):
    def spoil(trainer):
        trainer.logits = lambda images: np.full((len(images), 10), np.nan, np.float32)

    framework.before_step = at_step(8, spoil)
    with pytest.raises(DivergedError, match="probabilities are not finite after step 8 of 12"):
        train(tmp_path / "run", dataset)
    assert RunFolder.open(tmp_path / "run").result.status == "diverged"


def test_logits_of_test_images_that_are_not_finite_stop_the_run_too(tmp_path, framework):
    """They are measured once, at the end, where validation images took their place before."""
    dataset = load_dataset(DATA, validation_fraction=0.2, seed=5)

    def spoil(trainer):
        usual = trainer.logits
        trainer.logits = lambda images: (
            usual(images) if len(images) == 10 else np.full((len(images), 10), np.nan)
        )

    framework.before_step = at_step(1, spoil)
    with pytest.raises(DivergedError, match="probabilities are not finite"):
        train(tmp_path / "run", dataset, replace(RECIPE, validation_fraction=0.2))
    assert RunFolder.open(tmp_path / "run").result.status == "diverged"


# ---- stopped by the user


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name
)
def test_signal_ends_the_run_after_the_step_with_its_state_saved(
    tmp_path, dataset, framework, number
):
    before = signal.getsignal(number)
    framework.before_step = interrupt_at(6, number)
    observer = RecordingObserver()
    result = train(tmp_path / "run", dataset, observer=observer)
    assert (result.status, result.message) == ("interrupted", "stopped by the user")
    assert result.steps == framework.trainer.steps_taken == 6
    assert result.test_top1_accuracy is None
    assert observer.results == [result]
    folder = RunFolder.open(tmp_path / "run")
    assert folder.result == result
    assert len(folder.history.step_loss) == 6
    assert len(folder.history.epochs) == 1
    assert folder.read_checkpoint()[1]["step"] == 6
    assert signal.getsignal(number) == before


def test_second_signal_does_what_it_did_before(tmp_path, dataset, framework):
    """Whoever presses Ctrl-C twice does not want to wait."""

    def press_twice(_):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    framework.before_step = at_step(2, press_twice)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", dataset)
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_hangup_that_is_ignored_ends_nothing(tmp_path, dataset, framework):
    """nohup ignores SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        framework.before_step = interrupt_at(6, signal.SIGHUP)
        assert train(tmp_path / "run", dataset).status == "finished"
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_more_sigterms_while_the_state_is_saved_change_nothing(
    tmp_path, dataset, uninterrupted, monkeypatch
):
    """A scheduler signals the group, the parent passes it on, and the scheduler signals again."""
    with (
        monkeypatch.context() as patch,
        stopping.handle_signals((signal.SIGTERM,), lambda _: None),  # outside of the loop
    ):
        patch.setattr(os, "fsync", lambda _: signal.raise_signal(signal.SIGTERM))
        result = train(tmp_path / "run", dataset)
    assert (result.status, result.steps) == ("interrupted", 4)
    assert_goes_on(tmp_path / "run", dataset, uninterrupted, 4)


@pytest.mark.parametrize("step", [1, 4, 6, 11])
def test_interrupted_run_continues_to_the_same_end(
    tmp_path, dataset, framework, uninterrupted, step
):
    framework.before_step = interrupt_at(step)
    train(tmp_path / "run", dataset)
    framework.before_step = None
    observer = RecordingObserver()
    result = resume(tmp_path / "run", dataset, observer)
    assert observer.started_at == step
    assert framework.trainer.steps_taken == NUM_STEPS - step
    assert result.status == "finished"
    assert_same_run(tmp_path / "run", uninterrupted)


def test_run_that_is_interrupted_again_and_again_continues_to_the_same_end(
    tmp_path, dataset, framework, uninterrupted
):
    framework.before_step = interrupt_at(1)
    train(tmp_path / "run", dataset)
    for step in range(2, NUM_STEPS):
        framework.before_step = interrupt_at(step)
        assert resume(tmp_path / "run", dataset).steps == step
    framework.before_step = None
    resume(tmp_path / "run", dataset)
    assert_same_run(tmp_path / "run", uninterrupted)


def test_interruption_at_the_last_step_saves_and_comes_too_late(
    tmp_path, dataset, framework, uninterrupted, monkeypatch
):
    end_epoch, saved_steps = training.end_epoch, []

    def evaluate(state):
        if state.is_done:
            _, progress = state.folder.read_checkpoint()
            saved_steps.append(progress["step"])
        return end_epoch(state)

    monkeypatch.setattr(training, "end_epoch", evaluate)
    framework.before_step = interrupt_at(NUM_STEPS)
    assert train(tmp_path / "run", dataset).status == "finished"
    assert saved_steps == [NUM_STEPS]
    assert_same_run(tmp_path / "run", uninterrupted)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name
)
def test_signal_within_the_evaluation_of_the_test_images_ends_the_run_and_loses_nothing(
    tmp_path, number
):
    recipe = replace(RECIPE, validation_fraction=0.2)
    images = load_dataset(DATA, validation_fraction=0.2)

    def stop(event):
        if isinstance(event, Evaluating) and event.total == len(images.test):
            signal.raise_signal(number)

    result = train(tmp_path / "run", images, recipe, stop)
    assert (result.status, result.steps) == ("interrupted", 9)
    assert len(RunFolder.open(tmp_path / "run").history.epochs) == RECIPE.epochs
    resume(tmp_path / "run", images)
    train(tmp_path / "whole", images, recipe)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_signal_while_the_result_is_written_comes_too_late(tmp_path, dataset, monkeypatch):
    """Its writing ends first: nothing is left to continue."""
    monkeypatch.setattr(
        RunFolder, "write_predictions", lambda *_: signal.raise_signal(signal.SIGTERM)
    )

    def outside(_):
        raise Killed

    with stopping.handle_signals((signal.SIGTERM,), outside):
        assert train(tmp_path / "run", dataset).status == "finished"


def test_times_of_an_interrupted_run_add_up(tmp_path, dataset, framework, monkeypatch):
    now, others = [0.0], [0.0]
    monkeypatch.setattr(training.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(interference, "_cpu_seconds", lambda: (now[0], others[0]))

    def tick(_, step):
        now[0] += 2
        others[0] += 1 if step <= 6 else 0
        if step == 6:
            signal.raise_signal(signal.SIGINT)

    framework.before_step = tick
    train(tmp_path / "run", dataset)
    now[0] += 10_000
    others[0] += 10_000
    timing = resume(tmp_path / "run", dataset).timing
    assert timing.interference == 6 / 24
    # In both processes the first step of either batch size is set apart: 4 of 12 steps.
    assert timing.first_step_time_s == 8
    assert timing.training_time_s == 16
    assert timing.images_per_second == (150 - 2 * (16 + 2)) / 16


# ---- killed


def kill(path, dataset, framework, step, recipe=RECIPE):
    framework.before_step = kill_at(step)
    with pytest.raises(Killed):
        train(path, dataset, recipe)
    framework.before_step = None


def assert_goes_on(path, dataset, uninterrupted, step):
    """The run continues after this step to the same end."""
    observer = RecordingObserver()
    resume(path, dataset, observer)
    assert observer.started_at == step
    assert_same_run(path, uninterrupted)


@pytest.mark.parametrize("step", [1, 3, 4])
def test_killed_run_without_a_checkpoint_starts_over(
    tmp_path, dataset, framework, uninterrupted, step
):
    kill(tmp_path / "run", dataset, framework, step)
    folder = RunFolder.open(tmp_path / "run")
    assert folder.result is None
    assert folder.read_checkpoint() is None
    assert_goes_on(tmp_path / "run", dataset, uninterrupted, 0)


@pytest.mark.parametrize(("step", "kept"), [(5, 4), (8, 4), (9, 8), (12, 8)])
def test_killed_run_continues_from_its_last_epoch_to_the_same_end(
    tmp_path, dataset, framework, uninterrupted, step, kept
):
    kill(tmp_path / "run", dataset, framework, step)
    assert len(RunFolder.open(tmp_path / "run").history.epochs) == kept // STEPS_PER_EPOCH
    assert_goes_on(tmp_path / "run", dataset, uninterrupted, kept)


@pytest.mark.parametrize("step", [2, 5, 7])
def test_killed_run_continues_from_a_checkpoint_within_an_epoch(
    tmp_path, dataset, framework, uninterrupted, monkeypatch, step
):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_S", -1.0)
    kill(tmp_path / "run", dataset, framework, step)
    assert_goes_on(tmp_path / "run", dataset, uninterrupted, step - 1)


@pytest.mark.parametrize(("steps", "epochs"), [(None, 3), (6, 2)], ids=["epochs", "steps"])
def test_run_killed_between_its_last_checkpoint_and_the_evaluation_records_every_epoch(
    tmp_path, dataset, monkeypatch, steps, epochs
):
    recipe = replace(RECIPE, steps=steps)
    predict = epoch_end.predict_probabilities
    calls = []

    def killed(*arguments, **options):
        calls.append(arguments)
        if len(calls) == epochs:
            raise Killed
        return predict(*arguments, **options)

    monkeypatch.setattr(training, "CHECKPOINT_EVERY_S", -1.0)
    monkeypatch.setattr(epoch_end, "predict_probabilities", killed)
    with pytest.raises(Killed):
        train(tmp_path / "run", dataset, recipe)
    resume(tmp_path / "run", dataset)
    train(tmp_path / "whole", dataset, recipe)
    assert len(RunFolder.open(tmp_path / "run").history.epochs) == epochs
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_an_epoch_is_said_to_have_ended_after_its_state_was_saved(tmp_path, dataset):
    """Whoever reads only the first lines of a training's output does not cost it an epoch."""
    observer, saved = RecordingObserver(), []
    folder = RunFolder(tmp_path / "run")
    observer.on.epoch_ended = lambda _: saved.append(folder.read_checkpoint()[1]["step"])
    train(folder.path, dataset, observer=observer)
    assert saved == [4, 8, 12]


NUM_WRITES = 11
"""run and environment; history and checkpoint of three epochs; weights, predictions,
result."""


def test_run_writes_num_writes_files(tmp_path, dataset, monkeypatch):
    """So that the next test kills at every one of them."""
    writes = []
    monkeypatch.setattr(os, "fsync", writes.append)
    train(tmp_path / "run", dataset)
    assert len(writes) == NUM_WRITES


@pytest.mark.parametrize("place", range(2, NUM_WRITES + 1), ids="write {}".format)
def test_run_that_is_killed_in_any_write_continues_to_the_same_end(
    tmp_path, dataset, uninterrupted, monkeypatch, place
):
    count = iter(range(1, 1000))

    def killing(_):
        if next(count) == place:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", killing)
        with pytest.raises(Killed):
            train(tmp_path / "run", dataset)
    folder = RunFolder.open(tmp_path / "run")
    assert folder.result is None
    # A checkpoint counts an epoch, and so does the history that is written just before it.
    assert len(folder.history.epochs) == max(place - 2, 0) // 2 if place < 8 else 3
    resume(tmp_path / "run", dataset)
    assert_same_run(tmp_path / "run", uninterrupted)


def test_crash_in_the_middle_of_a_checkpoint_keeps_the_one_before(
    tmp_path, dataset, uninterrupted, monkeypatch
):
    save_file = weights_module.save_file
    calls = []

    def half(arrays, path, metadata):
        calls.append(path)
        save_file(arrays, path, metadata)
        if len(calls) == 2:
            path.write_bytes(path.read_bytes()[:100])
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(weights_module, "save_file", half)
        with pytest.raises(Killed):
            train(tmp_path / "run", dataset)
    assert RunFolder.open(tmp_path / "run").read_checkpoint()[1]["step"] == 4
    resume(tmp_path / "run", dataset)
    assert_same_run(tmp_path / "run", uninterrupted)


def test_resume_removes_what_a_killed_writer_left(tmp_path, dataset, framework, uninterrupted):
    kill(tmp_path / "run", dataset, framework, 6)
    write_leftover(tmp_path / "run" / "checkpoint.safetensors")
    resume(tmp_path / "run", dataset)
    assert_same_run(tmp_path / "run", uninterrupted)


def test_two_resumptions_of_one_run_exclude_each_other(
    tmp_path, dataset, framework, uninterrupted, monkeypatch
):
    """The second process comes while the first one is in the middle of a step."""
    monkeypatch.setattr(folders, "LOCK_WAIT_S", 0.0)
    framework.before_step = interrupt_at(2)
    train(tmp_path / "run", dataset)
    codes = []

    def resume_elsewhere(_):
        if (process := os.fork()) == 0:
            framework.before_step = None
            try:
                resume(tmp_path / "run", dataset)
            except RunError as error:
                os._exit(11 if "another process is writing" in str(error) else 12)
            os._exit(0)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))

    framework.before_step = at_step(7, resume_elsewhere)
    resume(tmp_path / "run", dataset)
    assert codes == [11]
    assert_same_run(tmp_path / "run", uninterrupted)


# ---- what cannot be resumed


def test_finished_run_is_not_resumed(tmp_path, dataset):
    train(tmp_path / "run", dataset)
    message = f"{tmp_path / 'run'}: this run is finished; there is nothing to resume."
    with pytest.raises(RunError) as caught:
        resume(tmp_path / "run", dataset)
    assert str(caught.value) == message


def test_diverged_run_is_not_resumed(tmp_path, dataset, framework):
    framework.before_step = break_at(5, math.nan)
    with pytest.raises(DivergedError):
        train(tmp_path / "run", dataset)
    with pytest.raises(RunError, match="this run diverged and would do so again"):
        resume(tmp_path / "run", dataset)


def test_run_is_not_resumed_on_other_images(tmp_path, dataset, framework):
    framework.before_step = interrupt_at(6)
    train(tmp_path / "run", dataset)
    before = (tmp_path / "run" / "checkpoint.safetensors").read_bytes()
    other = load_dataset(replace(DATA, train_images=51))
    message = (
        f"was started on images with fingerprint {dataset.fingerprint[:12]}, but the images "
        f"given have {other.fingerprint[:12]}"
    )
    with pytest.raises(RunError, match=message):
        resume(tmp_path / "run", other)
    assert (tmp_path / "run" / "checkpoint.safetensors").read_bytes() == before


def test_damaged_checkpoint_is_named(tmp_path, dataset, framework):
    framework.before_step = interrupt_at(6)
    train(tmp_path / "run", dataset)
    path = tmp_path / "run" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match=r"checkpoint\.safetensors: cannot be read"):
        resume(tmp_path / "run", dataset)


def test_checkpoint_of_another_training_is_named(tmp_path, dataset, framework):
    framework.before_step = interrupt_at(6)
    train(tmp_path / "run", dataset)
    folder = RunFolder.open(tmp_path / "run")
    arrays, progress = folder.read_checkpoint()
    del arrays["state/optimizer.kernel.momentum"]
    folder.write_checkpoint(arrays, progress)
    with pytest.raises(RunError, match=r"is damaged, or of another training \(KeyError: .*kernel"):
        resume(tmp_path / "run", dataset)


def test_run_does_not_write_into_a_folder_with_files(tmp_path, dataset):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="holds files already"):
        train(tmp_path, dataset)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_environment_is_written_again_only_where_it_is_missing(tmp_path, dataset, framework):
    framework.before_step = interrupt_at(2)
    train(tmp_path / "run", dataset)
    path = tmp_path / "run" / "environment.json"
    path.write_text(json.dumps({"cpu": "the first machine's"}))
    framework.before_step = interrupt_at(4)
    resume(tmp_path / "run", dataset)
    assert RunFolder.open(tmp_path / "run").environment == {"cpu": "the first machine's"}
    path.unlink()
    framework.before_step = None
    resume(tmp_path / "run", dataset)
    assert RunFolder.open(tmp_path / "run").environment["framework"]["name"] == "numpy"
