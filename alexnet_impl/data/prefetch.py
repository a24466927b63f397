"""Prefetching: items are prepared ahead of their use on a background thread."""

import queue
import threading
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import TypeVar

from alexnet_impl.errors import DataError

T = TypeVar("T")


def prefetch(items: Iterable[T], depth: int = 2) -> Generator[T, None, None]:
    """Yields the items, prepared on a background thread up to `depth` ahead of their use.

    With depth 0 each item is prepared in this thread, when it is needed.

    An exception of the iterable is raised here, in its place. Closing the generator (a `break`
    that drops it, an exception, `close()`) ends the thread after its current item.

    Raises:
        DataError: If depth is below 0.
    """
    if depth < 0:
        raise DataError(f"prefetch depth={depth} must be at least 0.")
    return _prefetched(items, depth) if depth else (item for item in items)


@dataclass(frozen=True, slots=True)
class _End:
    """The end of the items, with the error that caused it, if any."""

    error: BaseException | None = None


def _prefetched(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    results: queue.Queue[T | _End] = queue.Queue(maxsize=depth)
    stop = threading.Event()
    thread = threading.Thread(
        target=_produce, args=(items, results, stop), name="prefetch", daemon=True
    )
    thread.start()
    try:
        while not isinstance(item := results.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()
        # A producer waiting for room would never see the event. One emptying is enough: it puts
        # at most one more item before it looks.
        while not results.empty():
            results.get_nowait()
        thread.join()


def _produce(items: Iterable[T], results: "queue.Queue[T | _End]", stop: threading.Event) -> None:
    try:
        for item in items:
            results.put(item)
            if stop.is_set():
                return
    except BaseException as error:  # noqa: BLE001 - whatever it is, the consumer gets it
        results.put(_End(error))
    else:
        results.put(_End())
