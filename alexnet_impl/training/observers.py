"""Those who watch a run: a progress bar, plain lines, or JSON lines for another process."""

import json
import warnings
from dataclasses import asdict
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from alexnet_impl.errors import AlexNetWarning, RunError
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.records import (
    EpochRecord,
    RunResult,
)
from alexnet_impl.typed_json import read


def epoch_line(label: str, record: EpochRecord, num_epochs: int | None) -> str:
    """One epoch in one line; without a total where the steps are limited instead."""
    total = "" if num_epochs is None else f"/{num_epochs}"
    return (
        f"{label}  epoch {record.epoch}{total}  loss {record.loss:.4f}  "
        f"train {record.train_top1_accuracy:.2%}  "
        f"{record.evaluated_on} {record.eval_top1_accuracy:.2%}  "
        f"{record.images_per_second:.0f} images/s  {record.training_time_s:.1f} s"
    )


class LineObserver:
    """One line per epoch; no bar."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.label = ""
        self.num_epochs: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to take down."""

    def prepared(self, what: str, done: int, total: int) -> None:
        """Say when it is done."""
        if done == total:
            self.console.print(f"{what}: {total:,} images", highlight=False, soft_wrap=True)

    def started(self, config: RunConfig, num_steps: int, step: int) -> None:  # noqa: ARG002
        """Remember whose run it is."""
        self.label = f"{config.framework:<10}"
        self.num_epochs = config.recipe.epochs if config.recipe.steps is None else None
        if step:
            self.console.print(f"{self.label}  goes on after step {step}", highlight=False)

    def stepped(self, step: int, num_steps: int, loss: float, images_per_second: float) -> None:
        """Say nothing: epochs are enough for a log."""

    def warned(self, message: str) -> None:
        """Pass it on as a warning, which the command line shows as one line."""
        warnings.warn(message, AlexNetWarning, stacklevel=2)

    def epoch_ended(self, record: EpochRecord) -> None:
        """Print the epoch's line."""
        # soft_wrap: a log keeps its lines whole, whatever width the console guesses.
        line = epoch_line(self.label, record, self.num_epochs)
        self.console.print(line, highlight=False, soft_wrap=True)

    def ended(self, result: RunResult) -> None:
        """Say nothing: the table that follows does."""


class BarObserver(LineObserver):
    """A bar with images/s, loss, accuracy and time left, under one line per epoch."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.bar = Progress(
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

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def prepared(self, what: str, done: int, total: int) -> None:
        """Move a bar of its own."""
        if self.preparation is None:
            self.preparation = self.bar.add_task(what, figures="images")
        self.bar.update(self.preparation, total=total, completed=done)
        if done == total:
            self.bar.remove_task(self.preparation)
            self.preparation = None
        super().prepared(what, done, total)

    def started(self, config: RunConfig, num_steps: int, step: int) -> None:
        """Start the bar."""
        super().started(config, num_steps, step)
        self.task = self.bar.add_task(
            self.label, total=num_steps, completed=step, figures="starting"
        )

    def stepped(self, step: int, num_steps: int, loss: float, images_per_second: float) -> None:
        """Move the bar."""
        figures = f"{images_per_second:.0f} images/s  loss {loss:.4f}{self.accuracy}"
        self.bar.update(self.task, total=num_steps, completed=step, figures=figures)

    def epoch_ended(self, record: EpochRecord) -> None:
        """Print the epoch's line above the bar."""
        super().epoch_ended(record)
        self.accuracy = f"  {record.evaluated_on} {record.eval_top1_accuracy:.2%}"

    def ended(self, result: RunResult) -> None:
        """Take the bar away."""
        self.bar.update(self.task, completed=result.steps)


class JsonObserver:
    """One JSON object a line, for the process that started this one."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def send(self, event: str, **values: Any) -> None:
        """Write one event."""
        self.stream.write(json.dumps({"event": event, **values}) + "\n")
        self.stream.flush()

    def prepared(self, what: str, done: int, total: int) -> None:
        """See Observer."""
        self.send("prepared", what=what, done=done, total=total)

    def started(self, config: RunConfig, num_steps: int, step: int) -> None:
        """See Observer."""
        self.send("started", config=config.to_dict(), num_steps=num_steps, step=step)

    def stepped(self, step: int, num_steps: int, loss: float, images_per_second: float) -> None:
        """See Observer."""
        self.send(
            "stepped",
            step=step,
            num_steps=num_steps,
            loss=loss,
            images_per_second=images_per_second,
        )

    def warned(self, message: str) -> None:
        """See Observer."""
        self.send("warned", message=message)

    def epoch_ended(self, record: EpochRecord) -> None:
        """See Observer."""
        self.send("epoch_ended", record=asdict(record))

    def ended(self, result: RunResult) -> None:
        """See Observer."""
        self.send("ended", result=asdict(result))


def replay(event: dict[str, Any], observer: LineObserver) -> None:
    """Tell an observer here what a JsonObserver was told in another process.

    Raises:
        RunError: If the event is unknown.
    """
    values = {key: value for key, value in event.items() if key != "event"}
    match event["event"]:
        case "started":
            config = RunConfig.from_dict(values.pop("config"))
            observer.started(config, **values)
        case "prepared":
            observer.prepared(**values)
        case "stepped":
            observer.stepped(**values)
        case "warned":
            observer.warned(**values)
        case "epoch_ended":
            observer.epoch_ended(read(EpochRecord, values["record"]))
        case "ended":
            observer.ended(read(RunResult, values["result"]))
        case unknown:
            raise RunError(f"a worker sent the unknown event {unknown!r}: is it another release?")


def make_observer(console: Console) -> LineObserver:
    """A bar on a terminal, lines elsewhere; use it as a context manager."""
    observer: LineObserver = BarObserver(console) if console.is_terminal else LineObserver(console)
    return observer


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
