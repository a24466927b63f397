"""The collapse of a network: the rule, the checks in the training loop, the first-step probe.

The loop's network is the fake framework's, with a convolution whose outputs are scripted.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
from support import fake_framework
from support.fake_framework import (
    DIES_AT,
    MORTAL,
    FakeTrainer,
    RecordingObserver,
    interrupt_at,
    linear_config,
)
from support.starting import resume_run, start_run

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.errors import RunError
from alexnet_impl.network.variants import build_spec
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.runs.records import ActivationStatistics, CollapseReport
from alexnet_impl.training import collapse
from alexnet_impl.training import run as training
from alexnet_impl.training.collapse import (
    CHECKS_IN_A_ROW,
    DEAD_SHARE,
    LARGEST_SHIFT,
    LOGITS_STD,
    NUM_CHECK_IMAGES,
    PROBE_SHIFT,
    CollapseDetector,
    collapse_warning,
    dead_share,
    layer_statistics,
    shift_over_std,
)
from alexnet_impl.typed_json import read
from alexnet_impl.weights.canonical import weights_sha256

pytestmark = pytest.mark.fast

# ---- the rule


def statistics(dead=1.0, logits_std=0.0, step=1, **others):
    return ActivationStatistics(
        step=step, dead_share={"relu1": dead, **others}, logits_std=logits_std
    )


def alarms(*seen):
    """What the detector says to one check after the other."""
    detector = CollapseDetector()
    return [detector.check(one) for one in seen]


BELOW = 1e-6


def test_detector_fires_after_so_many_dead_checks_in_a_row():
    assert alarms(*[statistics()] * (CHECKS_IN_A_ROW + 1)) == [False] * (CHECKS_IN_A_ROW - 1) + [
        True,
        True,
    ]


def test_detector_starts_anew_where_the_network_recovers():
    row = [statistics()] * (CHECKS_IN_A_ROW - 1)
    assert not any(alarms(*row, statistics(dead=0.5), *row, statistics(logits_std=1.0), *row))


@pytest.mark.parametrize(
    ("dead", "logits_std", "collapsed"),
    [
        (DEAD_SHARE, LOGITS_STD - BELOW, True),
        (DEAD_SHARE - BELOW, LOGITS_STD - BELOW, False),
        (DEAD_SHARE, LOGITS_STD, False),
        (np.nan, np.nan, False),
    ],
    ids=["both", "alive", "logits differ", "not finite"],
)
def test_rule_needs_dead_units_and_equal_logits(dead, logits_std, collapsed):
    assert any(alarms(*[statistics(dead, logits_std)] * 10)) is collapsed


def test_rule_reads_the_worst_layer():
    """A single dead layer lets nothing through, be it a convolution's or a dense one's."""
    seen = statistics(0.1, relu2=1.0, relu6=0.9)
    assert seen.worst == ("relu2", 1.0)
    assert any(alarms(*[seen] * CHECKS_IN_A_ROW))


# ---- what the statistics are


def test_unit_is_dead_if_it_is_zero_for_every_image_and_position():
    maps = np.zeros((2, 4, 3, 3), np.float32)
    maps[1, 2, 0, 1] = 0.5  # alive at one place of one image
    maps[:, 3] = -1.0
    assert dead_share(maps) == 0.75
    assert dead_share(np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 2.0]])) == pytest.approx(1 / 3)


def test_statistics_are_those_of_the_relus_and_the_logits():
    spec = build_spec("cifar", width=0.125)
    outputs = {layer.name: np.ones((2, 4), np.float32) for layer in spec.layers}
    outputs["relu2"][:, 0] = 0
    outputs["fc3"] = np.array([[0.0, 1.0], [2.0, 1.0]])
    found = layer_statistics(outputs, spec, 7)
    assert list(found.dead_share) == [f"relu{n}" for n in range(1, 8)]
    assert found.dead_share["relu2"] == 0.25
    assert (found.step, found.logits_std) == (7, 0.5)


def test_shift_is_the_mean_distance_over_the_standard_deviation():
    before = np.array([[1.0, 3.0], [3.0, 1.0]])
    assert shift_over_std(before, before) == 0
    assert shift_over_std(before, before + 2) == 2
    assert shift_over_std(before, before - [[4.0, 0.0], [4.0, 0.0]]) == 2


@pytest.mark.parametrize("after", [1.0, np.nan, np.inf])
def test_shift_stays_a_number_that_json_can_say(after):
    assert shift_over_std(np.zeros((2, 2)), np.full((2, 2), after)) == LARGEST_SHIFT


def test_report_comes_back_from_json():
    report = CollapseReport(shift={"conv1": 1.5}, seen=statistics(step=9))
    plain = {
        "shift": {"conv1": 1.5},
        "seen": {"step": 9, "dead_share": {"relu1": 1.0}, "logits_std": 0.0},
    }
    assert read(CollapseReport, json.loads(json.dumps(plain))) == report
    assert read(CollapseReport, {"shift": {}, "seen": None}) == CollapseReport()


# ---- in the training loop

DATA = DataConfig(dataset="synthetic", train_images=160, test_images=10, image_size=4)
RECIPE = Recipe(learning_rate=0.25, epochs=2, global_batch_size=2, seed=5, schedule="one-cycle")
STEPS_PER_EPOCH = 80
SEEN_AT = DIES_AT + 2 * (CHECKS_IN_A_ROW - 1)


@pytest.fixture(autouse=True)
def framework(monkeypatch):
    """The NumPy framework with trainers that die at DIES_AT, or as a test changes them."""
    return fake_framework.install_mortal(monkeypatch)


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(DATA)


def config_of(on_collapse="warn", recipe=RECIPE):
    config = linear_config(recipe, DATA)
    return replace(config, variant="mortal", on_collapse=on_collapse)


def train(path, dataset, on_collapse="warn", observer=None, recipe=RECIPE):
    observer = observer or RecordingObserver()
    return start_run(path, config_of(on_collapse, recipe), dataset, observer)


COLLAPSED = (
    f"the network has collapsed by step {SEEN_AT}: 100.0% of relu1's units are dead, and the "
    "logits hardly depend on the image (standard deviation 0.0e+00); try --recipe.learning-rate "
    "0.025 instead of 0.25."
)


def test_run_that_collapses_warns_once_and_continues(tmp_path, dataset):
    observer = RecordingObserver()
    result = train(tmp_path / "run", dataset, observer=observer)
    assert observer.warnings == [f"torch: {COLLAPSED}"]
    assert (result.status, result.steps) == ("finished", 160)
    seen = ActivationStatistics(step=SEEN_AT, dead_share={"relu1": 1.0}, logits_std=0.0)
    assert result.collapse == CollapseReport(shift={"conv1": 0.0, "fc1": ANY_SHIFT}, seen=seen)
    assert RunFolder.open(tmp_path / "run").result == result


class _AnyShift:
    """Equal to any small figure: what the fake's dense layer moves by is no matter here."""

    def __eq__(self, other):
        return 0 <= other < 10

    __hash__ = None


ANY_SHIFT = _AnyShift()


def test_run_that_collapses_is_stopped_on_request(tmp_path, dataset, framework):
    observer = RecordingObserver()
    result = train(tmp_path / "run", dataset, "stop", observer)
    folder = RunFolder.open(tmp_path / "run")
    message = f"{folder.path}: {COLLAPSED} History and weights are kept."
    assert (result.status, result.message, result.steps) == ("collapsed", message, SEEN_AT)
    assert result.test_top1_accuracy is None
    assert observer.results == [result]
    assert folder.result == result
    assert len(folder.history.step_loss) == SEEN_AT
    assert weights_sha256(folder.read_weights()) == weights_sha256(framework.trainer.weights())
    with pytest.raises(RunError, match="this run collapsed: "):
        folder.finished_result()
    with pytest.raises(RunError, match="this run collapsed and would not recover"):
        resume_run(folder, dataset, RecordingObserver())


def test_ignored_collapse_is_not_checked_for(tmp_path, dataset, framework):
    observer = RecordingObserver()
    result = train(tmp_path / "run", dataset, "ignore", observer)
    assert framework.trainer.looked_at == observer.warnings == []
    assert (result.status, result.collapse) == ("finished", None)


def test_checks_change_no_bit_of_the_training(tmp_path, dataset):
    for name in ("warn", "ignore"):
        train(tmp_path / name, dataset, name)
    warned, ignored = (RunFolder.open(tmp_path / name) for name in ("warn", "ignore"))
    assert weights_sha256(warned.read_weights()) == weights_sha256(ignored.read_weights())
    assert warned.history.step_loss == ignored.history.step_loss
    assert warned.result.batches_sha256 == ignored.result.batches_sha256


def test_checks_are_frequent_first_and_end_with_the_first_epoch(tmp_path, dataset, framework):
    framework.kind.dies_at = 10**9
    result = train(tmp_path / "run", dataset)
    before, after, *checks = framework.trainer.looked_at
    assert (before, after) == (0, 1)
    assert checks == [*range(2, 61, 2), 63, 66, 69, 72, 75, 78]
    assert result.collapse.seen is None


@pytest.mark.parametrize("steps_per_call", [3, 8, 100])
def test_long_calls_skip_no_check(tmp_path, dataset, steps_per_call):
    """Where checks are frequent, the loop takes single steps."""
    recipe = replace(RECIPE, steps_per_call=steps_per_call, device_data=True)
    observer = RecordingObserver()
    result = train(tmp_path / "run", dataset, observer=observer, recipe=recipe)
    assert observer.warnings == [f"torch: {COLLAPSED}"]
    assert result.collapse.seen.step == SEEN_AT


def test_suspicious_check_is_soon_followed_by_the_next(tmp_path, dataset, framework):
    framework.kind.dies_at = 65
    train(tmp_path / "run", dataset)
    assert framework.trainer.looked_at[-7:] == [60, 63, 66, 68, 70, 72, 74]


def test_network_without_a_relu_is_not_checked(tmp_path, dataset, framework):
    framework.kind = FakeTrainer
    recipe = replace(RECIPE, epochs=1)
    result = start_run(tmp_path / "run", linear_config(recipe, DATA), dataset, RecordingObserver())
    assert result.collapse is None


def test_checks_are_not_timed_but_the_trial_step_is_a_first_one(
    tmp_path, dataset, framework, monkeypatch
):
    """On a clock that each step moves by 2 s and each check by 1000 s."""
    now = [0.0]
    for module in (training, collapse):
        monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])

    def tick(seconds):
        now[0] += seconds

    framework.before_step = lambda *_: tick(2)
    framework.kind.on_look = staticmethod(lambda: tick(1000))
    timing = train(tmp_path / "run", dataset).timing
    assert timing.first_step_time_s == 4
    assert timing.training_time_s == 2 * 159


def test_check_images_are_spread_over_the_training_images():
    images = np.arange(100, dtype=np.uint8).reshape(-1, 1, 1, 1)
    watch = collapse.CollapseWatch(None, MORTAL_SPEC, images, 10)
    assert len(watch.images) == NUM_CHECK_IMAGES
    assert (watch.images[0], watch.images[-1]) == (0, 99)
    assert len(collapse.CollapseWatch(None, MORTAL_SPEC, images[:3], 10).images) == 3


MORTAL_SPEC = replace(
    build_spec("cifar", width=0.125), layers=tuple(MORTAL.layers(4, 10, lambda n: n))
)

# ---- resumed


def interrupted_and_resumed(path, dataset, framework, step, on_collapse="warn"):
    """The observers and the trainer that went on."""
    framework.before_step = interrupt_at(step)
    first, second = RecordingObserver(), RecordingObserver()
    assert train(path, dataset, on_collapse, first).status == "interrupted"
    framework.before_step = None
    result = resume_run(RunFolder.open(path), dataset, second)
    return first, second, result


def test_resumed_run_does_not_warn_again(tmp_path, dataset, framework):
    first, second, result = interrupted_and_resumed(
        tmp_path / "run", dataset, framework, SEEN_AT + 3
    )
    assert (len(first.warnings), second.warnings) == (1, [])
    assert result.collapse.seen.step == SEEN_AT
    assert framework.trainer.looked_at == []


def test_resumed_run_counts_anew_and_keeps_the_probe(tmp_path, dataset, framework):
    first, second, result = interrupted_and_resumed(
        tmp_path / "run", dataset, framework, SEEN_AT - 3
    )
    assert (first.warnings, len(second.warnings)) == ([], 1)
    assert result.collapse.shift["conv1"] == 0
    start = SEEN_AT - 3
    last = start + 1 + 2 * (CHECKS_IN_A_ROW - 1)
    assert framework.trainer.looked_at == list(range(start + 1, last + 1, 2))


def test_resumed_run_is_still_stopped(tmp_path, dataset, framework):
    _, _, result = interrupted_and_resumed(tmp_path / "run", dataset, framework, 3, "stop")
    assert result.status == "collapsed"


# ---- the probe


@pytest.mark.parametrize("moved", [PROBE_SHIFT - BELOW, PROBE_SHIFT + BELOW])
def test_probe_warns_before_the_first_step(tmp_path, dataset, framework, moved):
    framework.kind.dies_at, framework.kind.moved_by_step = 10**9, moved
    observer = RecordingObserver()
    result = train(tmp_path / "run", dataset, observer=observer, recipe=replace(RECIPE, steps=1))
    expected = (
        f"torch: one trial step moves the outputs of conv1 by {moved:.1f} standard deviations (at "
        f"most {PROBE_SHIFT:g} is healthy): units may die and the network collapse; try "
        "--recipe.learning-rate 0.025 instead of 0.25."
    )
    assert observer.warnings == ([expected] if moved > PROBE_SHIFT else [])
    assert result.collapse.shift["conv1"] == pytest.approx(moved)
    assert framework.trainer.steps_taken == 2  # on trial, and the one step


def test_collapse_warning_reads_convolutions_only():
    shift = {"conv1": 0.5, "fc1": 100.0}
    assert collapse_warning(shift, MORTAL_SPEC, RECIPE) == ""


# ---- what is asked for


def test_unknown_on_collapse_is_refused():
    message = "on_collapse 'halt' is unknown; choose stop, warn, ignore"
    with pytest.raises(RunError, match=message):
        config_of("halt")


def test_config_of_an_older_run_warns():
    plain = config_of("stop").to_dict()
    assert RunConfig.from_dict(plain).on_collapse == "stop"
    del plain["on_collapse"]
    assert RunConfig.from_dict(plain).on_collapse == "warn"
