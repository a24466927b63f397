"""Observers of a training run: lines for a log, a progress bar, and JSON lines for a process."""

import json
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from alexnet_impl.data.progress import Ticker
from alexnet_impl.errors import AlexNetWarning, closed_pipe_ignored
from alexnet_impl.runs.records import EpochRecord
from alexnet_impl.training.events import (
    Ended,
    EpochEnded,
    Evaluating,
    Event,
    Observer,
    Prepared,
    Started,
    Stepped,
    Warned,
    event_to_json,
)
from alexnet_impl.training.pace import RESUME, Pace


@contextmanager
def make_observer(console: Console, *, scope: str = "", resume: str = RESUME) -> Iterator[Observer]:
    """Yields an observer that prints to a console: a bar on a terminal, lines elsewhere.

    `scope` and `resume` belong to the announcement of a long run; see Pace.announce().
    """
    if not console.is_terminal:
        yield LogLines(console, scope=scope, resume=resume)
        return
    bar = EpochBar(console, scope=scope, resume=resume)
    with bar.progress:
        yield bar


def epoch_line(label: str, record: EpochRecord, num_epochs: int | None) -> str:
    """Returns an epoch's figures as a line; num_epochs is None if the recipe limits the steps."""
    total = "" if num_epochs is None else f"/{num_epochs}"
    return (
        f"{label}  epoch {record.epoch}{total}  loss {record.loss:.4f}  "
        f"train {record.train_top1_accuracy:.2%}  "
        f"{record.evaluated_on} {record.eval_top1_accuracy:.2%}  "
        f"{record.images_per_second:.0f} images/s  {record.training_time_s:.1f} s"
    )


class EpochLines:
    """An observer that prints one line per epoch, and how long a long run will take."""

    def __init__(self, console: Console, *, scope: str = "", resume: str = RESUME) -> None:
        self.console = console
        self.scope, self.resume = scope, resume
        self.label = ""
        self.num_epochs: int | None = None
        self.run: Started | None = None
        self.pace = Pace()

    def __call__(self, event: Event) -> None:
        """Prints the lines of an event, if it has any."""
        match event:
            case Prepared(what=what, done=done, total=total) if done == total:
                self._print(f"{what}: {total:,} images")
            case Started():
                self.run = event
                self.label, self.num_epochs = f"{event.framework:<10}", event.num_epochs
                if event.step:
                    self._print(f"{self.label}  continues after step {event.step}")
            case Stepped() if self.run is not None:
                self.pace.add(event)
                steps = event.num_steps - event.step
                if text := self.pace.announce(
                    self.run, steps, scope=self.scope, resume=self.resume
                ):
                    self._print(f"{self.label}  {text}")
            case Warned(message=message):
                # The command line prints warnings of this package as one line each.
                warnings.warn(message, AlexNetWarning, stacklevel=2)
            case EpochEnded(record=record):
                self._print(epoch_line(self.label, record, self.num_epochs))

    def _print(self, line: str) -> None:
        # soft_wrap: a log keeps its lines whole, whatever width the console guesses.
        self.console.print(line, highlight=False, soft_wrap=True)


class LogLines(EpochLines):
    """An observer for a log, which also says every 30 seconds how far the run is."""

    def __init__(
        self,
        console: Console,
        *,
        scope: str = "",
        resume: str = RESUME,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ticker, self.recent = Ticker(clock), Pace()
        super().__init__(console, scope=scope, resume=resume)

    def __call__(self, event: Event) -> None:
        """Prints the lines of an event, or one for the last 30 seconds."""
        super().__call__(event)
        match event:
            case Prepared(what=what, done=done, total=total) if self.ticker.is_due():
                self._print(f"{what}: {done:,} of {total:,} images")
            case Evaluating(done=done, total=total) if self.ticker.is_due():
                self._print(f"{self.label}  evaluated {done:,} of {total:,} images")
            case Stepped() if self.run is not None:
                self.recent.add(event)
                if self.ticker.is_due():
                    epochs = "" if self.num_epochs is None else f"/{self.num_epochs}"
                    text = self.recent.text(self.run, event)
                    self._print(f"{self.label}  epoch {event.epoch}{epochs}  {text}")

    def _print(self, line: str) -> None:
        super()._print(line)
        self.ticker.restart()
        self.recent = Pace()


class EpochBar:
    """An observer that shows images/s, loss, accuracy and time left below the lines of epochs."""

    def __init__(self, console: Console, *, scope: str = "", resume: str = RESUME) -> None:
        self.lines = EpochLines(console, scope=scope, resume=resume)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
        )
        self.task = TaskID(0)
        self.preparation: TaskID | None = None
        self.accuracy = ""

    def __call__(self, event: Event) -> None:
        """Moves the bar, below the lines of the event."""
        self.lines(event)
        match event:
            case Prepared():
                self._show_preparation(event)
            case Started(num_steps=num_steps, step=step):
                self.task = self.progress.add_task(
                    self.lines.label, total=num_steps, completed=step, figures="starting"
                )
            case Stepped():
                speed = f"{event.images_per_second:.0f} images/s  " if event.timed_steps else ""
                self.progress.update(
                    self.task,
                    completed=event.step,
                    figures=f"{speed}loss {event.loss:.4f}{self.accuracy}",
                )
            case EpochEnded(record=record):
                self.accuracy = f"  {record.evaluated_on} {record.eval_top1_accuracy:.2%}"
            case Ended(result=result):
                self.progress.update(self.task, completed=result.steps)

    def _show_preparation(self, event: Prepared) -> None:
        """Moves a bar of its own, which is removed when the preparation is done."""
        if self.preparation is None:
            self.preparation = self.progress.add_task(event.what, figures="images")
        self.progress.update(self.preparation, total=event.total, completed=event.done)
        if event.done == event.total:
            self.progress.remove_task(self.preparation)
            self.preparation = None


class JsonObserver:
    """An observer that writes one JSON object a line, for the process that started this one."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __call__(self, event: Event) -> None:
        """Writes an event."""
        self._write(event_to_json(event))

    def send(self, event: str, **values: Any) -> None:
        """Writes a message that is no event of a training, such as an error."""
        self._write({"event": event, **values})

    def _write(self, values: dict[str, Any]) -> None:
        with closed_pipe_ignored():  # the training that saves its state outlives the reader
            self.stream.write(json.dumps(values) + "\n")
            self.stream.flush()
