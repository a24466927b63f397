"""Who watches a run: lines for a log, a bar on a terminal, JSON lines for another process."""

import io
import json
import math
import os
from contextlib import suppress
from dataclasses import replace

import pytest
from rich.console import Console
from support.fake_framework import RecordingObserver
from support.records import epoch_record, run_result

from alexnet_impl.errors import AlexNetWarning, RunError
from alexnet_impl.runs.records import ActivationStatistics, CollapseReport
from alexnet_impl.training.events import (
    Ended,
    EpochEnded,
    Evaluating,
    Prepared,
    Started,
    Stepped,
    Warned,
    event_from_json,
)
from alexnet_impl.training.observers import (
    EpochBar,
    EpochLines,
    JsonObserver,
    LogLines,
    epoch_line,
    make_observer,
)

pytestmark = pytest.mark.fast

RECORD = epoch_record(
    epoch=2,
    step=20,
    loss=1.23456,
    train_top1_accuracy=0.5,
    evaluated_on="validation",
    eval_top1_accuracy=0.625,
    training_time_s=12.34,
    images_per_second=456.7,
)
SEEN = ActivationStatistics(step=12, dead_share={"relu1": 1.0}, logits_std=1e-9)
RESULT = run_result(steps=30, collapse=CollapseReport(shift={"conv1": 7.5}, seen=SEEN))
LINE = "tensorflow  epoch 2/3  loss 1.2346  train 50.00%  validation 62.50%  457 images/s  12.3 s"


def started(step):
    return Started(framework="tensorflow", num_epochs=3, num_steps=30, step=step)


def stepped(step, loss, rate):
    pace = {"images_per_second": rate, "timed_steps": 7, "timed_s": 0.5}
    return Stepped(step=step, num_steps=30, loss=loss, **pace)


def watch(observer):
    """Tell an observer of a run of three epochs, of which one is shown."""
    observer(started(0))
    observer(stepped(7, 2.0, 400.0))
    observer(EpochEnded(record=RECORD))
    observer(stepped(27, 1.5, 450.0))
    observer(Ended(result=RESULT))


def test_epoch_line_has_the_epochs_figures():
    assert epoch_line("tensorflow", RECORD, 3) == LINE


def test_log_has_one_whole_line_per_epoch_and_nothing_else():
    stream = io.StringIO()
    watch(EpochLines(Console(file=stream, width=40)))
    assert stream.getvalue() == LINE + "\n"


class FakeClock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self):
        return self.now


def steps_of(count, step_time_s, *, num_steps, batch_size=50):
    """Stepped events of a run: the first step is a first call, the others take so long each."""
    yield Stepped(step=1, num_steps=num_steps, loss=2.5, images_per_second=0.0)
    for step in range(2, count + 1):
        yield Stepped(
            step=step,
            num_steps=num_steps,
            loss=2.0,
            images_per_second=batch_size / step_time_s,
            timed_steps=1,
            timed_s=step_time_s,
        )


def told(num_steps, step_time_s, *, count=30, **options):
    """The lines of a log about the first steps of a run."""
    stream, clock = io.StringIO(), FakeClock()
    observer = LogLines(Console(file=stream, width=40), clock=clock, **options)
    # 3 epochs; the evaluations take as long as 200 steps.
    observer(replace(started(0), num_steps=num_steps, evaluated_images=30_000))
    for event in steps_of(count, step_time_s, num_steps=num_steps):
        clock.now += step_time_s
        observer(event)
    return stream.getvalue().splitlines()


def test_log_has_a_line_every_30_seconds_with_the_time_left():
    lines = told(2346, 3.3, count=22)
    assert lines[1:] == [
        "tensorflow  epoch 1/3  step 15/2,346  loss 2.0000  15 images/s  2 h 20 min left"
    ]
    slow = told(2346, 40.0, count=6)
    assert len(slow) == 6
    assert slow[-1].endswith("step 6/2,346  loss 2.0000  1.2 images/s  28 h 15 min left")


def test_line_every_30_seconds_starts_anew_after_any_other():
    stream, clock = io.StringIO(), FakeClock()
    observer = LogLines(Console(file=stream), clock=clock)
    observer(started(0))
    clock.now = 29.0
    observer(EpochEnded(record=RECORD))
    clock.now = 58.0
    observer(stepped(21, 1.0, 400.0))
    assert stream.getvalue() == LINE + "\n"
    clock.now = 59.0
    observer(stepped(22, 1.0, 400.0))
    assert stream.getvalue().endswith("step 22/30  loss 1.0000  400 images/s  1 s left\n")


def test_log_says_every_30_seconds_how_far_an_evaluation_is():
    stream, clock = io.StringIO(), FakeClock()
    observer = LogLines(Console(file=stream), clock=clock)
    observer(started(0))
    for done in range(256, 1025, 256):
        clock.now += 20.0
        observer(Evaluating(done=done, total=10_000))
    lines = stream.getvalue().splitlines()
    assert lines == [f"tensorflow  evaluated {done:,} of 10,000 images" for done in (512, 1024)]


def test_log_says_every_30_seconds_how_far_a_preparation_is():
    stream, clock = io.StringIO(), FakeClock()
    observer = LogLines(Console(file=stream), clock=clock)
    for done in range(0, 5000, 500):
        clock.now += 10.0
        observer(Prepared(what="Features", done=done, total=5000))
    lines = stream.getvalue().splitlines()
    assert lines == [f"Features: {done:,} of 5,000 images" for done in (1000, 2500, 4000)]


def test_long_run_is_announced_once_by_its_first_steps_without_the_first_call():
    assert told(2346, 3.3, scope=" per framework")[0] == (
        "tensorflow  about 2 h 20 min per framework (2,341 steps at 3.3 s, and evaluation); "
        "Ctrl-C and `--resume` at any time"
    )
    assert sum("about" in line for line in told(2346, 3.3)) == 1


def test_short_run_is_not_announced():
    assert told(200, 0.25) == []


def test_bar_announces_a_long_run_too():
    observer = EpochBar(Console(file=io.StringIO(), width=120, force_terminal=True), resume="Stop")
    observer(started(0))
    for event in steps_of(9, 50.0, num_steps=30):
        observer(event)
    said = observer.progress.console.file.getvalue()
    assert said == "tensorflow  about 21 min (25 steps at 50 s, and evaluation); Stop\n"


def test_log_says_where_a_resumed_run_goes_on():
    stream = io.StringIO()
    EpochLines(Console(file=stream))(started(12))
    assert stream.getvalue() == "tensorflow  continues after step 12\n"


def test_bar_shows_steps_rate_loss_and_accuracy_above_a_line_per_epoch():
    stream = io.StringIO()
    observer = EpochBar(Console(file=stream, width=120, force_terminal=True))
    with observer.progress:
        observer(started(0))
        observer(stepped(7, 2.0, 400.0))
        observer.progress.refresh()
        assert "7/30" in stream.getvalue()
        assert "400 images/s  loss 2.0000" in stream.getvalue()
        observer(EpochEnded(record=RECORD))
        observer(stepped(27, 1.5, 450.0))
        observer.progress.refresh()
        assert "450 images/s  loss 1.5000  validation 62.50%" in stream.getvalue()
        observer(Ended(result=RESULT))
        assert observer.progress.finished
    assert LINE in stream.getvalue()


def test_bar_goes_on_at_the_step_of_a_resumed_run():
    observer = EpochBar(Console(file=io.StringIO(), width=120, force_terminal=True))
    with observer.progress:
        observer(started(12))
        assert observer.progress.tasks[0].completed == 12


def test_log_says_when_a_preparation_is_done():
    stream = io.StringIO()
    observer = EpochLines(Console(file=stream))
    observer(Prepared(what="Features after backbone", done=64, total=5000))
    observer(Prepared(what="Features after backbone", done=5000, total=5000))
    assert stream.getvalue() == "Features after backbone: 5,000 images\n"


def test_bar_of_a_preparation_goes_away_before_that_of_the_training():
    observer = EpochBar(Console(file=io.StringIO(), width=120, force_terminal=True))
    with observer.progress:
        observer(Prepared(what="Features", done=64, total=5000))
        assert observer.progress.tasks[0].completed == 64
        observer(Prepared(what="Features", done=5000, total=5000))
        observer(started(12))
        assert [task.completed for task in observer.progress.tasks] == [12]


@pytest.mark.parametrize("kind", [EpochLines, EpochBar])
def test_warning_is_passed_on_as_one_of_this_package(kind):
    with pytest.warns(AlexNetWarning, match="^torch: the network has collapsed$"):
        kind(Console(file=io.StringIO()))(Warned(message="torch: the network has collapsed"))


@pytest.mark.parametrize(("terminal", "kind"), [(True, EpochBar), (False, LogLines)])
def test_bar_is_for_terminals_alone(terminal, kind):
    console = Console(file=io.StringIO(), force_terminal=terminal)
    with make_observer(console) as observer:
        assert type(observer) is kind


def tell(observer):
    observer(Prepared(what="Features", done=64, total=64))
    observer(started(4))
    observer(stepped(7, 2.0, 400.0))
    observer(Warned(message="the network has collapsed"))
    observer(EpochEnded(record=RECORD))
    observer(Ended(result=RESULT))


def test_json_lines_tell_another_process_the_same():
    stream = io.StringIO()
    tell(JsonObserver(stream))
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    kinds = ["prepared", "started", "stepped", "warned", "epoch_ended", "ended"]
    assert [event["event"] for event in events] == kinds
    direct, relayed = RecordingObserver(), RecordingObserver()
    tell(direct)
    for event in events:
        relayed(event_from_json(event))
    relayed.on = direct.on
    assert vars(relayed) == vars(direct)


def test_json_lines_carry_a_loss_that_is_not_finite():
    stream = io.StringIO()
    JsonObserver(stream)(EpochEnded(record=replace(RECORD, eval_loss=math.nan)))
    observer = RecordingObserver()
    observer(event_from_json(json.loads(stream.getvalue())))
    assert math.isnan(observer.epochs[0].eval_loss)


def test_each_json_line_is_sent_at_once():
    class Stream(io.StringIO):
        flushed = 0

        def flush(self):
            self.flushed += 1

    stream = Stream()
    tell(JsonObserver(stream))
    assert stream.flushed == 6


def test_events_for_a_parent_that_has_died_are_dropped():
    """The training outlives it until its state is saved."""
    ours, theirs = os.pipe()
    os.close(ours)
    stream = os.fdopen(theirs, "w")
    tell(JsonObserver(stream))
    with suppress(BrokenPipeError):
        stream.close()


def test_unknown_event_is_refused():
    message = "a worker sent the unknown event 'paused': is it another release?"
    with pytest.raises(RunError) as caught:
        event_from_json({"event": "paused"})
    assert str(caught.value) == message
