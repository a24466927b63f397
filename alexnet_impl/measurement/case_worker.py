"""The worker process of a benchmark case: prepares it, warms up and times groups of calls."""

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from alexnet_impl.errors import FrameworkError, RunError
from alexnet_impl.frameworks import get_framework
from alexnet_impl.frameworks.timed_call import TimedCall, matmul_size
from alexnet_impl.machine.facts import usable_cores
from alexnet_impl.measurement.case import Case, device_kind
from alexnet_impl.measurement.timing import GROUP_S, WarmUp, group_size, time_calls, warm_up
from alexnet_impl.measurement.workloads import get_workload, on_host, workload_context
from alexnet_impl.processes.channel import Answer, Channel, answer_calls, open_channel
from alexnet_impl.processes.host_memory import keep_freed_memory, keeps_freed_memory
from alexnet_impl.runs.environment import process_peak_memory_bytes
from alexnet_impl.weights.canonical import Weights

CALIBRATION_ROUNDS, CALIBRATION_WARM_UP_S = 3, 0.3
PEAK_GROUP_S = 0.1
"""Shortest time of the products in a round, in seconds."""
ROUND_TRIPS = 50
OUT_OF_MEMORY = (
    *("out of memory", "oom when allocating", "allocate memory", "bad_alloc"),
    *("unable to allocate", "memoryerror", "alloc_failed", "resourceexhausted"),
    *("resource_exhausted", "dst tensor is not initialized"),
)
"""What frameworks, NumPy and Python say, in lower case, when memory runs out."""
KILLED = "killed by signal 9"
"""End of the message about a process that the system killed, as it does when memory runs out."""


class OutOfMemoryError(RunError):
    """Raised for a case that runs out of memory, which is a result and not a fault."""

    def __init__(self, message: str, case: Case) -> None:
        super().__init__(message)
        self.case = case


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A case that is ready to be timed.

    Attributes:
        preparation_s: Seconds to build it: model, weights, data.
        amount: Size of the work of one call, in `unit`.
        unit: 'images' or 'models'.
    """

    preparation_s: float
    amount: float
    unit: str


class CaseWorker:
    """The process of one case; case_worker() starts and ends it."""

    def __init__(self, channel: Channel, case: Case) -> None:
        self.channel, self.case = channel, case
        self.group = 1

    def prepare(self) -> Prepared:
        """Build what the case needs.

        Raises:
            OutOfMemoryError: If it does not fit.
            RunError: If it cannot be built.
        """
        return Prepared(**self._ask("prepare", self.case.to_dict()))

    def warm_up(self, limit_s: float, group_s: float = GROUP_S) -> WarmUp:
        """Call until the times are steady, and set the number of calls in a group.

        Raises:
            OutOfMemoryError: If a call does not fit.
        """
        found = self._ask("warm_up", {"limit_s": limit_s})
        done = WarmUp(**found | {"times_s": tuple(found["times_s"])})
        self.group = group_size(done.call_s, group_s)
        return done

    def time_group(self) -> float:
        """Seconds per call, from one group of calls after an untimed call."""
        return float(self._ask("time", {"count": self.group})) / self.group

    def round_trip_s(self) -> float:
        """Seconds of a request to the worker process in which nothing is timed."""
        return time_calls(on_host(lambda: self._ask("nothing", {})), ROUND_TRIPS) / ROUND_TRIPS

    def peak(self) -> float:
        """FLOP/s of the matrix product in the case's precision, now: beside the timed calls."""
        return float(self._ask("peak", {"precision": self.case.config.recipe.precision}))

    def peaks(self, known: Collection[str] = ()) -> dict[str, float]:
        """FLOP/s of the products and B/s of the copy, without the kernels that are known."""
        asked = {"precision": self.case.config.recipe.precision, "known": list(known)}
        return dict(self._ask("calibrate", asked))

    def memory(self) -> dict[str, int | None]:
        """Peak memory of the process and of its accelerator, in bytes, without the peaks' own."""
        return dict(self._ask("memory", {}))

    def fingerprint(self) -> dict[str, Any]:
        """Versions, device, threads and flags of the framework."""
        return dict(self._ask("fingerprint", {}))

    def _ask(self, call: str, values: dict[str, Any]) -> Any:
        try:
            found, _ = self.channel.ask(call, values)
        except RunError as error:
            text = str(error).lower()
            if KILLED in text or any(words in text for words in OUT_OF_MEMORY):
                raise OutOfMemoryError(str(error), self.case) from error
            raise
        return found


@contextmanager
def case_worker(case: Case, *, interpreter: str = sys.executable) -> Iterator[CaseWorker]:
    """Start the worker process of a case, which ends with the block.

    Args:
        case: What to time. The worker imports its framework and sets its threads; the case of the
            CaseWorker has the device that was found, 'cpu' or 'gpu'.
        interpreter: The Python to run; its environment needs this package and the framework.
    """
    config = case.config
    with open_channel(config.framework, "case", interpreter=interpreter) as channel:
        values = {"framework": config.framework, "device": config.device}
        threads = config.threads or usable_cores()
        device, _ = channel.ask("start", values | {"threads": threads})
        yield CaseWorker(channel, case.on(device))


class CaseCalls:
    """Answers calls about one case in its worker process."""

    def __init__(self) -> None:
        self.framework, self.device = "", ""
        self.threads = 0
        self.timed_call: TimedCall | None = None
        self.product: TimedCall | None = None
        self.memory_before: dict[str, int | None] | None = None

    def answer(self, call: str, values: dict[str, Any], arrays: Weights) -> Answer:
        """Answer a call of CaseWorker; arrays of any shape are ignored."""
        del arrays
        answers: dict[str, Callable[[], Any]] = {
            "start": lambda: self._start(values),
            "prepare": lambda: self._prepare(Case.from_dict(values)),
            "warm_up": lambda: asdict(warm_up(self._ready, limit_s=values["limit_s"])),
            "time": lambda: self._time(values["count"]),
            "peak": lambda: self._peak(values["precision"]),
            "calibrate": lambda: self._calibrate(values["precision"], values["known"]),
            "memory": self._memory,
            "fingerprint": self._fingerprint,
            "nothing": lambda: None,
        }
        if call not in answers:
            raise FrameworkError(f"{call}: no such request; run both processes with one release.")
        return answers[call](), {}

    @property
    def _ready(self) -> TimedCall:
        if self.timed_call is None:
            raise FrameworkError("nothing was prepared yet.")
        return self.timed_call

    def _start(self, values: dict[str, Any]) -> str:
        self.framework, self.device = values["framework"], values["device"]
        self.threads = values["threads"]
        framework = get_framework(self.framework)
        framework.set_threads(self.threads)
        return device_kind(framework.fingerprint(self.device)["device"])

    def _prepare(self, case: Case) -> dict[str, Any]:
        framework, workload = get_framework(self.framework), get_workload(case.workload)
        if not workload.is_tutorial:
            keep_freed_memory()
        made: list[TimedCall] = []

        def make() -> None:
            self.timed_call = None  # frees the memory before the next one takes it
            made.append(workload.prepare(workload_context(framework, case.config)))

        seconds = time_calls(on_host(make), 1)
        self.timed_call = made[0]
        ready = self.timed_call
        return asdict(Prepared(preparation_s=seconds, amount=ready.amount, unit=ready.unit))

    def _time(self, count: int) -> float:
        # The other side ran in between: caches are cold and threads asleep.
        time_calls(self._ready, 1)
        return time_calls(self._ready, count)

    def _fingerprint(self) -> dict[str, Any]:
        own = {"threads": self.threads, "keeps_freed_memory": keeps_freed_memory()}
        return get_framework(self.framework).fingerprint(self.device) | own

    def _peak(self, precision: str) -> float:
        self.memory_before = self._memory()
        if self.product is None:
            framework = get_framework(self.framework)
            kernels = framework.calibration_kernels(self.device, precision)
            self.product = self._full_size(kernels[f"matmul {precision}"]())
        call_s = time_calls(self.product, 1)  # untimed: its memory has left the caches
        count = group_size(call_s, PEAK_GROUP_S)
        return self.product.amount * count / time_calls(self.product, count)

    def _full_size(self, small: TimedCall) -> TimedCall:
        """The kernel in the size that shows a peak; only products have sizes."""
        if small.with_size is None:
            return small
        small.call()  # allocates, and chooses an algorithm
        device = device_kind(get_framework(self.framework).fingerprint(self.device)["device"])
        return small.with_size(matmul_size(device, time_calls(small, 3) / 3))

    def _calibrate(self, precision: str, known: Collection[str]) -> dict[str, float]:
        # All has been timed, and the kernels need its memory.
        self.timed_call = self.product = None
        peaks = {}
        kernels = get_framework(self.framework).calibration_kernels(self.device, precision)
        for name in [name for name in kernels if name not in known]:
            kernel = self._full_size(kernels[name]())
            call_s = warm_up(kernel, limit_s=CALIBRATION_WARM_UP_S).call_s
            count = group_size(call_s)
            rounds = [time_calls(kernel, count) / count for _ in range(CALIBRATION_ROUNDS)]
            peaks[name] = kernel.amount / median(rounds)
        return peaks

    def _memory(self) -> dict[str, int | None]:
        if self.memory_before is not None:
            return self.memory_before
        device = self.timed_call.peak_memory_bytes() if self.timed_call is not None else None
        return {"process": process_peak_memory_bytes(), "device": device}


def run_case_worker() -> int:
    """Answer calls about one case on standard input until it ends; the exit code is 0."""
    return answer_calls(CaseCalls().answer)
