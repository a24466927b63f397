"""Out of memory is a result: which batch was asked for, and the largest that fits."""

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from alexnet_impl.measurement.case import Case
from alexnet_impl.measurement.case_worker import OutOfMemoryError, case_worker
from alexnet_impl.measurement.rounds import Interpreters
from alexnet_impl.measurement.workloads import synthetic_data

PROBES = 4
"""Bisections between the largest batch that fits and the smallest that does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfMemory:
    """A case that did not fit.

    Attributes:
        asked: Its batch size.
        fits: The largest batch size that was found to fit; 0 if none does, and `asked` if it is
            only beside the other side that there was no room.
        too_large: The smallest that was found not to; None where all that was tried fits.
        message: What the framework said.
    """

    asked: int
    fits: int
    too_large: int | None
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
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


def of_batch_size(case: Case, batch_size: int) -> Case:
    """The same with another batch size, and with images enough for it."""
    config = case.config
    recipe = replace(config.recipe, global_batch_size=batch_size)
    data = config.data
    if data.dataset == "synthetic":
        data = synthetic_data(batch_size, data.image_size or 32, case.work)
    return replace(case, config=replace(config, recipe=recipe, data=data))


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
        case: What did not fit.
        message: What was said of it.
        interpreters: Framework to the Python that runs it; this one by default.
        probe: Whether a case fits; by default it is tried.
        beside: Whether another side was in memory too: then it is tried by itself first.
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
    """Whether two calls go through: the first may leave more behind than it began with."""
    interpreter = interpreters.get(case.config.framework, sys.executable)
    try:
        with case_worker(case, interpreter=interpreter) as worker:
            worker.prepare()
            worker.warm_up(0.0)
    except OutOfMemoryError:
        return False
    return True
