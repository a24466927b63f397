"""Progress callbacks for long work, among them one that draws bars on a terminal."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

# (description, done, total); a total of 0 means that it is not known.
Progress: TypeAlias = Callable[[str, int, int], None]

T = TypeVar("T")
_REPORTS_PER_TASK = 200


def silent(description: str, done: int, total: int) -> None:
    """Reports nothing."""


def counted(items: Iterable[T], description: str, total: int, progress: Progress) -> Iterator[T]:
    """Yields the items and reports to `progress` about 200 times, the last one included."""
    step = max(total // _REPORTS_PER_TASK, 1)
    for done, item in enumerate(items, start=1):
        if done % step == 0 or done == total:
            progress(description, done, total)
        yield item


@contextmanager
def terminal_progress() -> Iterator[Progress]:
    """Callback that draws one bar per description on stderr, or nothing if that is no terminal."""
    if not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console  # noqa: PLC0415 - 0.1 s that silent programs need not pay
    from rich.progress import Progress as Bars  # noqa: PLC0415
    from rich.progress import TaskID  # noqa: PLC0415

    tasks: dict[str, TaskID] = {}
    with Bars(console=Console(stderr=True), transient=True) as bars:

        def report(description: str, done: int, total: int) -> None:
            if description not in tasks:
                tasks[description] = bars.add_task(description)
            bars.update(tasks[description], completed=done, total=total or None)

        yield report
