"""A watch on the machine before, during and after a measurement."""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Self

import psutil

from alexnet_impl.machine.fact import Facts
from alexnet_impl.machine.facts import machine_fingerprint
from alexnet_impl.machine.interference import (
    OtherWork,
    interference_warnings,
    measure_interference,
    other_work,
)

LOOK_EVERY_S = 2.0
"""How often a watch looks for other measurements."""
WORKER = ("-m", "alexnet_impl", "worker")
"""Words in the command line of every worker process."""


class MachineWatch:
    """Looks at the machine before, during and after what its block measures.

    Attributes:
        before: machine_fingerprint() before, with the interference of other processes.
        warnings: One sentence for each thing that may have interfered so far.
        another: The one about another alexnet; '' as long as none was seen.
    """

    def __init__(self, announce: Callable[[str], None], interval_s: float = 1.0) -> None:
        """Looks at the machine for interval_s seconds.

        `announce` is called with each warning as soon as it is known, also from a thread.
        """
        self.announce = announce
        self.warnings: list[str] = []
        self.before = machine_fingerprint() | {"busy_share": measure_interference(interval_s)}
        self.other_work = OtherWork()
        self.another: str = ""
        self._seen: set[int] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_for_others, daemon=True)

    def __enter__(self) -> Self:
        """Gives the first warnings, and starts to look for other measurements."""
        self._add(interference_warnings(self.before, {}))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the looking."""
        self._ended.set()
        self._thread.join()

    def after(self) -> Facts:
        """Returns machine_fingerprint() after the measurement, and gives the last warnings."""
        found = machine_fingerprint() | {"busy_share": self.other_work.share()}
        self._add(interference_warnings(self.before, found))
        return found

    def signs_of_other_work(self, *, on_gpu: bool) -> tuple[str, ...]:
        """Those of the warnings so far that tell of other work; a GPU's only for work on one."""
        return (*other_work(self.before, on_gpu=on_gpu), *filter(None, (self.another,)))

    def _add(self, warnings: Iterable[str]) -> None:
        for warning in warnings:
            if warning not in self.warnings:
                self.warnings.append(warning)
                self.announce(warning)

    def _look_for_others(self) -> None:
        while True:
            if others := self.other_workers():
                processes = ", ".join(map(str, sorted(others)[:3]))
                self.another = (
                    f"Another alexnet runs on this machine (process {processes}): each gets a part "
                    "of the cores; wait until one has ended."
                )
                self._add((self.another,))
                return
            if self._ended.wait(LOOK_EVERY_S):
                return

    def other_workers(self) -> set[int]:
        """Finds alexnet's worker processes that this process did not start.

        Only processes that were not there at the last call are looked at.
        """
        new = set(psutil.pids()) - self._seen
        self._seen |= new
        found = {pid for pid in new if _is_worker(pid)}
        # The children are listed after: one that starts meanwhile is no other's.
        return found and found - {child.pid for child in psutil.Process().children(recursive=True)}


def _is_worker(pid: int) -> bool:
    with suppress(psutil.Error):
        words = psutil.Process(pid).cmdline()
        return any(tuple(words[place : place + 3]) == WORKER for place in range(len(words)))
    return False
