"""Search for the largest batch that fits, after the requested one ran out of memory."""

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from alexnet_impl.measurement.case import Case, Interpreters, of_batch_size
from alexnet_impl.measurement.case_worker import OutOfMemoryError, case_worker

PROBES = 4
"""Bisections between the largest batch that fits and the smallest that does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfMemory:
    """A case that ran out of memory.

    Attributes:
        asked: Its batch size.
        fits: The largest batch size that was found to fit; 0 if none does, and `asked` if the case
            fits by itself but not beside the other side.
        too_large: The smallest batch size that was found not to fit; None if all fitted.
        message: The framework's message.
    """

    asked: int
    fits: int
    too_large: int | None
    message: str

    def to_dict(self) -> dict[str, Any]:
        """The result, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        if self.too_large is None:
            return (
                f"out of memory at batch {self.asked} beside the other side; by itself it fits "
                f"({self.message})"
            )
        return (
            f"out of memory at batch {self.asked}; {self.fits} fits, {self.too_large} does not "
            f"({self.message})"
        )


def find_largest_batch(
    case: Case,
    message: str,
    interpreters: Interpreters,
    probe: Callable[[Case], bool] | None = None,
    *,
    beside: bool = False,
) -> OutOfMemory:
    """Halve the batch until it fits, then bisect; every attempt in a process of its own.

    Args:
        case: The case that ran out of memory.
        message: The framework's message.
        interpreters: Framework to the Python that runs it; by default this one.
        probe: Tells whether a case fits; by default it is tried in a process.
        beside: Whether another side was in memory too; the case is then tried by itself first.
    """
    fits_here = probe or (lambda one: _fits(one, interpreters))
    asked = too_large = case.config.recipe.global_batch_size
    if beside and fits_here(case):
        return OutOfMemory(asked=asked, fits=asked, too_large=None, message=message)
    fits = asked // 2
    while fits and not fits_here(of_batch_size(case, fits)):
        too_large, fits = fits, fits // 2
    for _ in range(PROBES):
        middle = (fits + too_large) // 2
        if middle in (fits, too_large):
            break
        if fits_here(of_batch_size(case, middle)):
            fits = middle
        else:
            too_large = middle
    return OutOfMemory(asked=asked, fits=fits, too_large=too_large, message=message)


def _fits(case: Case, interpreters: Interpreters) -> bool:
    """Whether two calls succeed: the first may keep memory that the second needs."""
    interpreter = interpreters.get(case.config.framework, sys.executable)
    try:
        with case_worker(case, interpreter=interpreter) as worker:
            worker.prepare()
            worker.warm_up(0.0)
    except OutOfMemoryError:
        return False
    return True
