"""Events of a training run, and their form as JSON lines between processes.

An observer is a function that takes one event: see observers.py for those that print.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from alexnet_impl.errors import RunError
from alexnet_impl.runs.records import EpochRecord, RunResult
from alexnet_impl.typed_json import read, to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Progress of long work before the first step, in images; comes repeatedly, until done=total.

    Attributes:
        what: What is being computed.
        done: Images that are done.
        total: Images in all.
    """

    what: str
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The run starts, or is resumed.

    Attributes:
        framework: 'torch' or 'tensorflow'.
        num_epochs: The recipe's epochs; None if it limits the steps instead.
        num_steps: Steps of the whole run.
        step: Steps taken before: 0 unless the run is resumed.
        evaluated_images: Images of all evaluations of the whole run, mirror images included.
    """

    framework: str
    num_epochs: int | None
    num_steps: int
    step: int
    evaluated_images: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepped:
    """Losses were read back from the device; comes about twice a second.

    Attributes:
        step: Steps taken so far.
        num_steps: Steps of the whole run.
        loss: Training loss of the latest step.
        images_per_second: Speed since the last such event, without first calls; 0 if all were.
        epoch: The current epoch, counted from 1.
        timed_steps: Steps since the last such event, without first calls.
        timed_s: Seconds that they took.
    """

    step: int
    num_steps: int
    loss: float
    images_per_second: float
    epoch: int = 1
    timed_steps: int = 0
    timed_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """The run continues, but the user should know something."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluating:
    """Images of an evaluation were computed; comes after each batch."""

    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochEnded:
    """An epoch was trained and evaluated."""

    record: EpochRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The run has ended or was stopped; the last event."""

    result: RunResult


Event: TypeAlias = Prepared | Started | Stepped | Warned | Evaluating | EpochEnded | Ended
Observer: TypeAlias = Callable[[Event], None]

EVENTS: dict[str, type[Event]] = {
    "prepared": Prepared,
    "started": Started,
    "stepped": Stepped,
    "warned": Warned,
    "evaluating": Evaluating,
    "epoch_ended": EpochEnded,
    "ended": Ended,
}
"""The name of each event in JSON to its class."""
_NAMES = {kind: name for name, kind in EVENTS.items()}


def event_to_json(event: Event) -> dict[str, Any]:
    """Returns the object that stands for an event: its name under 'event', and its fields."""
    return {"event": _NAMES[type(event)], **to_json(event)}


def event_from_json(values: dict[str, Any]) -> Event:
    """Returns the event that event_to_json() was given.

    Raises:
        RunError: If no event has that name.
        RecordError: If its fields are not those of the event.
    """
    name = values["event"]
    if name not in EVENTS:
        raise RunError(f"a worker sent the unknown event {name!r}: is it another release?")
    return read(EVENTS[name], {key: value for key, value in values.items() if key != "event"})


def ignore_events(_: Event) -> None:
    """Is an observer that shows nothing."""
