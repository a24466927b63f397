"""Ctrl-C and SIGTERM in a training run: the current step ends, and the state is saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any


@dataclass(slots=True)
class StopRequest:
    """Whether the user has asked the run to stop."""

    asked: bool = False


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turns the first Ctrl-C or SIGTERM into a request; the second one acts as it did before.

    In another thread than the main one, where Python handles no signals, it does nothing.
    """
    request = StopRequest()

    def ask(number: int, _: FrameType | None) -> None:
        request.asked = True
        signal.signal(number, before[number])

    main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if main else ()
    before: dict[int, Any] = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
