"""Who watches a run: lines for a log, a bar on a terminal, JSON lines for another process."""

import io
import json
import math
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
    return Stepped(step=step, num_steps=30, loss=loss, images_per_second=rate)


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


@pytest.mark.parametrize(("terminal", "kind"), [(True, EpochBar), (False, EpochLines)])
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


def test_unknown_event_is_refused():
    message = "a worker sent the unknown event 'paused': is it another release?"
    with pytest.raises(RunError) as caught:
        event_from_json({"event": "paused"})
    assert str(caught.value) == message
