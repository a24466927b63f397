"""Ctrl-C, SIGTERM and SIGHUP in a training run: the current step ends, and the state is saved."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from alexnet_impl.errors import StoppedError

ENDING_SIGNALS: tuple[int, ...] = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""What a batch scheduler sends before it kills, and what a terminal sends when it closes."""
STOP_SIGNALS: tuple[int, ...] = (signal.SIGINT, *ENDING_SIGNALS)


@dataclass(slots=True)
class StopRequest:
    """Whether the user has asked the run to stop, and by which signals."""

    received: set[int] = field(default_factory=set)

    @property
    def asked(self) -> bool:
        """Whether a signal has come."""
        return bool(self.received)


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turns Ctrl-C, SIGTERM and SIGHUP into a request; only a second Ctrl-C does not wait.

    A batch scheduler's signal may come twice: to the whole group, and passed on by the parent.

    Raises:
        KeyboardInterrupt: At the second Ctrl-C.
    """
    request = StopRequest()

    def ask(number: int) -> None:
        if number == signal.SIGINT and number in request.received:
            raise KeyboardInterrupt
        request.received.add(number)

    with handle_signals(STOP_SIGNALS, ask):
        yield request


@contextmanager
def handle_signals(numbers: tuple[int, ...], act: Callable[[int], None]) -> Iterator[None]:
    """Calls `act` with the number of each of these signals that comes within the block.

    A SIGHUP that is ignored stays so: that is what nohup is for. In another thread than the main
    one, where Python handles no signals, this does nothing.
    """

    def handler(number: int, _: FrameType | None) -> None:
        act(number)

    if threading.current_thread() is not threading.main_thread():
        numbers = ()
    ignored = {number for number in ENDING_SIGNALS if signal.getsignal(number) == signal.SIG_IGN}
    before = {n: signal.signal(n, handler) for n in numbers if n not in ignored}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def continued_by(how: str, begun: Path | None = None) -> Iterator[None]:
    """Adds to the error of a block that the user stops how to continue it.

    Without the file `begun` there is nothing to continue yet.
    """
    try:
        yield
    except (KeyboardInterrupt, StoppedError) as error:
        if begun is not None and not begun.is_file():
            raise
        raise StoppedError(f"{str(error) or 'Stopped'}; {how}") from None
