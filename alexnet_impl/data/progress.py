"""Progress callbacks for long work: bars on a terminal, a line every 30 s in a log."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO, TypeAlias, TypeVar

# (description, done, total); a total of 0 means that it is not known.
Progress: TypeAlias = Callable[[str, int, int], None]

T = TypeVar("T")
_REPORTS_PER_TASK = 200
LOG_EVERY_S = 30.0
"""How often long work says in a log how far it is."""


class Ticker:
    """Says when the next line of a log is due.

    Attributes:
        clock: Gives the time in seconds.
        last: When the latest line was written, or the work started.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.restart()

    def restart(self) -> None:
        """Starts the next interval: a line was written."""
        self.last = self.clock()

    def is_due(self) -> bool:
        """Whether LOG_EVERY_S seconds have passed; if so, the next interval starts."""
        if due := self.clock() - self.last >= LOG_EVERY_S:
            self.restart()
        return due


def time_text(time_s: float) -> str:
    """A duration to two digits, in words: '45 s', '25 min', '2 h 10 min', '3.5 days'."""
    if time_s < 100:
        return f"{time_s:.0f} s"
    minutes = round(time_s / 60)
    if minutes < 60:
        return f"{minutes} min"
    minutes = 5 * round(minutes / 5)
    if minutes < 48 * 60:
        hours, rest = divmod(minutes, 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{minutes / 60 / 24:.1f} days"


def silent(description: str, done: int, total: int) -> None:
    """Reports nothing."""


def counted(items: Iterable[T], description: str, total: int, progress: Progress) -> Iterator[T]:
    """Yields the items and reports to `progress` about 200 times, the last one included."""
    step = max(total // _REPORTS_PER_TASK, 1)
    for done, item in enumerate(items, start=1):
        if done % step == 0 or done == total:
            progress(description, done, total)
        yield item


def log_progress(stream: TextIO, ticker: Ticker) -> Progress:
    """Callback that writes a line whenever the ticker says so, with the time left."""
    starts: dict[str, tuple[float, int]] = {}

    def report(description: str, done: int, total: int) -> None:
        started, before = starts.setdefault(description, (ticker.clock(), done))
        if not ticker.is_due():
            return
        line = f"{description}: {done:,}" if done or total else description
        if total and done > before:
            left_s = (ticker.clock() - started) * (total - done) / (done - before)
            line += f" of {total:,}, {time_text(left_s)} left"
        with suppress(OSError):  # nobody may read it any more
            stream.write(f"{line}\n")
            stream.flush()

    return report


@contextmanager
def terminal_progress() -> Iterator[Progress]:
    """Callback that draws a bar per description on stderr, or lines if that is no terminal."""
    if not sys.stderr.isatty():
        yield log_progress(sys.stderr, Ticker())
        return
    from rich.console import Console  # noqa: PLC0415 - 0.1 s that silent programs need not pay
    from rich.markup import escape  # noqa: PLC0415
    from rich.progress import Progress as Bars  # noqa: PLC0415
    from rich.progress import TaskID  # noqa: PLC0415

    tasks: dict[str, TaskID] = {}
    with Bars(console=Console(stderr=True), transient=True) as bars:

        def report(description: str, done: int, total: int) -> None:
            if description not in tasks:
                tasks[description] = bars.add_task(escape(description))
            bars.update(tasks[description], completed=done, total=total or None)

        yield report
