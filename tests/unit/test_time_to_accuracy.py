"""Time to accuracy: the first epoch that reached the target, without evaluation."""

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
from support.records import epoch_record

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.errors import RunError
from alexnet_impl.measurement import full_training
from alexnet_impl.measurement.full_training import (
    TimeToAccuracy,
    full_training_entry,
    time_to_accuracy,
)
from alexnet_impl.measurement.recording import EXTRA, read_recording, write_recording
from alexnet_impl.measurement.regressions import RegressionOptions, find_regressions
from alexnet_impl.recipe.named import get_recipe
from alexnet_impl.report.bench.speeds import table_lines
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.records import History

pytestmark = pytest.mark.fast


def history(*accuracies):
    """Epochs of 10 s, 20 s, ... each with an evaluation of 1 s."""
    return History(
        epochs=[
            epoch_record(
                epoch=number,
                step=100 * number,
                train_top1_accuracy=0.99,
                eval_top1_accuracy=accuracy,
                training_time_s=10.0 * number,
                evaluation_time_s=1.0,
            )
            for number, accuracy in enumerate(accuracies, start=1)
        ]
    )


def test_time_ends_with_the_first_epoch_that_reaches_the_target():
    found = time_to_accuracy(history(0.6, 0.8, 0.75, 0.9), 0.8)
    expected = TimeToAccuracy(
        epochs=2,
        training_time_s=30.0,
        evaluation_time_s=2.0,
        top1_accuracy=0.8,
        evaluated_on="test",
    )
    assert found == expected


def test_a_target_that_no_evaluation_reached_has_no_time():
    """The training images' accuracy does not count."""
    assert time_to_accuracy(history(0.6, 0.8), 0.81) is None
    assert time_to_accuracy(History(), 0.5) is None


@pytest.mark.parametrize("target", [0.0, -0.1, 80.76])
def test_target_must_be_a_share(target):
    with pytest.raises(RunError, match=f"target={target} must be a share"):
        time_to_accuracy(history(0.6), target)


class TrainedRun:
    """A finished run's folder: 900 images an epoch."""

    def __init__(self, *accuracies):
        self.history = history(*accuracies)
        self.dataset = SimpleNamespace(num_train_images=900)

    def finished_result(self):
        return SimpleNamespace(
            timing=SimpleNamespace(first_step_time_s=0.5),
            peak_memory_bytes=2**30,
            peak_device_memory_bytes=None,
            test_top1_accuracy=0.82,
        )


CONFIG = RunConfig(
    framework="torch",
    variant="cifar",
    width=0.25,
    recipe=replace(get_recipe("quick"), epochs=3),
    data=DataConfig(dataset="digits"),
)


@pytest.fixture
def entry(monkeypatch):
    """The entry of runs that a target of 80 % was set."""

    @contextmanager
    def worker(case, **_):
        facts = {"torch": "2.9", "device": "cpu"}
        yield SimpleNamespace(
            case=case.on("cpu"), peaks=lambda: {"matmul float32": 1e12}, fingerprint=lambda: facts
        )

    monkeypatch.setattr(full_training, "case_worker", worker)
    return lambda config, times_s, *runs: full_training_entry(config, times_s, runs, 0.8)


def test_whole_runs_are_a_case_of_their_own_with_one_time_each(entry, tmp_path):
    found = entry(CONFIG, [61.0, 60.0, 62.0], *[TrainedRun(0.6, 0.8, 0.9)] * 3)
    write_recording(tmp_path, {"cpu": "a processor"}, [found], [])
    recording = read_recording(tmp_path)
    (read,) = recording.entries
    assert read.times_s == (61.0, 60.0, 62.0)
    assert read.amount == 3 * 900
    assert read.title == "full-training torch cifar width 0.25 b64 float32, 3 epochs"
    assert (read.key["workload"], read.key["epochs"], read.key["dataset"]) == (
        *("full-training", 3, "digits"),
    )
    assert read.rest["target"]["training_time_s"] == 30.0
    normalised = RegressionOptions(normalise=True)
    (case,) = find_regressions(recording, recording, normalised).cases
    assert case.ratio.ratio == 1
    longer = entry(
        replace(CONFIG, recipe=replace(CONFIG.recipe, epochs=4)), [60.0], TrainedRun(0.9)
    )
    assert longer["key"] != found["key"]


def test_row_of_whole_runs_tells_its_target_and_is_marked_if_none_reached_it(entry):
    reached = entry(CONFIG, [61.0, 60.0], TrainedRun(0.6, 0.8, 0.9), TrainedRun(0.6, 0.7))
    told = table_lines([{EXTRA: reached}])
    assert "reached by 1 of 2 runs, in 2 epochs and 30.0 s of steps; at the end 82" in told[2]
    missed = table_lines([{EXTRA: entry(CONFIG, [60.0], TrainedRun(0.6, 0.7))}])
    assert "reached by 0 of 1 runs; at the end 82" in missed[2]
    warning = "    warning: no run reached the target of 80 %: do not compare times."
    assert warning in missed
    assert warning not in told
