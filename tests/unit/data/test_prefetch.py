import threading
import time

import pytest

from alexnet_impl.data.prefetch import prefetch
from alexnet_impl.errors import DataError

pytestmark = pytest.mark.fast


def prefetch_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


@pytest.fixture(autouse=True)
def _no_leaked_threads():
    assert not prefetch_threads()
    yield
    assert not prefetch_threads()


@pytest.mark.parametrize("depth", [0, 1, 2, 50])
def test_prefetch_gives_the_same_items_in_order(depth):
    assert list(prefetch(range(20), depth)) == list(range(20))


def test_prefetch_of_nothing_ends():
    assert list(prefetch([])) == []


def test_prefetch_works_on_another_thread_ahead_of_the_consumer():
    made, makers = [], set()

    def source():
        for number in range(10):
            made.append(number)
            makers.add(threading.current_thread().name)
            yield number

    items = prefetch(source(), depth=2)
    assert next(items) == 0
    deadline = time.monotonic() + 60
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    # one used, two waiting, one in the maker's hands
    assert made == [0, 1, 2, 3]
    assert makers == {"prefetch"}
    items.close()


def test_prefetch_raises_the_makers_error_after_the_items_before_it():
    def source():
        yield 1
        raise ValueError("bad image 2")

    items = prefetch(source())
    assert next(items) == 1
    with pytest.raises(ValueError, match="bad image 2"):
        next(items)


def test_prefetch_ends_its_thread_when_the_consumer_breaks():
    for item in prefetch(iter(range(10**9))):
        if item == 3:
            break
    del item
    deadline = time.monotonic() + 60
    while prefetch_threads() and time.monotonic() < deadline:
        time.sleep(0.001)


def test_prefetch_ends_its_thread_on_close_while_the_queue_is_full():
    items = prefetch(iter(range(10**9)), depth=1)
    next(items)
    time.sleep(0.02)
    closing = threading.Thread(target=items.close, daemon=True)
    closing.start()
    closing.join(60)
    assert not closing.is_alive()
    assert not prefetch_threads()


def consume_badly(items):
    for _ in items:
        raise RuntimeError("the consumer stops")


def test_prefetch_ends_its_thread_when_the_consumer_raises():
    items = prefetch(iter(range(10**9)))
    with pytest.raises(RuntimeError, match="the consumer stops"):
        consume_badly(items)
    items.close()
    assert not prefetch_threads()


def test_prefetch_of_depth_0_makes_each_item_here():
    made = []
    items = prefetch((made.append(number) or number for number in range(3)), 0)
    assert (next(items), made) == (0, [0])
    assert not prefetch_threads()


def test_prefetch_refuses_a_depth_below_none():
    with pytest.raises(DataError, match="depth=-1"):
        prefetch([], depth=-1)
