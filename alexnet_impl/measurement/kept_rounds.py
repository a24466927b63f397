"""Measuring of one side or two that loses no round: each is written as soon as it has ended."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alexnet_impl.errors import StoppedError
from alexnet_impl.machine.fact import Facts
from alexnet_impl.machine.watch import MachineWatch
from alexnet_impl.measurement.case import Case, Interpreters
from alexnet_impl.measurement.case_worker import OutOfMemoryError
from alexnet_impl.measurement.measured_cases import Gate, MeasuredCase, MeasuredPair, RoundsPlan
from alexnet_impl.measurement.recording import Interference, entry_of, write_recording
from alexnet_impl.measurement.rounds import compare, measure
from alexnet_impl.measurement.workloads import get_workload
from alexnet_impl.runs.environment import environment_fingerprint

Measured = MeasuredCase | MeasuredPair
Compared = list[tuple[MeasuredPair, Gate | None]]


class KeptRounds:
    """The measurement of one side, or of two in turns, whose rounds bench.json keeps.

    Attributes:
        cases: The sides.
        plan: How long to measure.
        interpreters: Framework to the Python that runs it.
        folder: The folder of bench.json.
        watch: Looks for what may interfere; its block is around the measurement.
        is_written: Whether bench.json has a round.
    """

    def __init__(
        self,
        cases: list[Case],
        plan: RoundsPlan,
        interpreters: Interpreters,
        folder: Path,
        watch: MachineWatch,
    ) -> None:
        self.cases, self.plan, self.interpreters = cases, plan, interpreters
        self.folder, self.watch = folder, watch
        self.is_written = False

    @property
    def has_gate(self) -> bool:
        """Whether two models must be shown equal before they have a ratio."""
        frameworks = {case.config.framework for case in self.cases}
        return len(frameworks) > 1 and get_workload(self.cases[0].workload).gated

    def measure(self, announce: Callable[[Measured], None], gate: Gate | None = None) -> Measured:
        """Measures all rounds; `announce` is called with those so far after each.

        If memory ends after a round, the rounds before are the result.

        Raises:
            OutOfMemoryError: If there is no round before.
            RunError: If a process fails.
        """
        kept: list[Measured] = []

        def keep(done: Measured) -> None:
            kept[:] = [done]
            announce(done)
            self.write(*entries_of(done, gate))

        try:
            if len(self.cases) == 1:
                return measure(self.cases[0], self.plan, self.interpreters, keep)
            first, second = self.cases
            return compare(first, second, self.plan, self.interpreters, keep)
        except OutOfMemoryError as error:
            if not kept:
                raise
            told = f"out of memory after these rounds ({error}); they are kept."
            self.watch.announce(f"{error.case.title}: {told}")
            return kept[0]

    def write(
        self, entries: list[dict[str, Any]], pairs: Compared, after: Facts | None = None
    ) -> None:
        """Writes bench.json; without a look at the machine after it, as one of a part."""
        machine = self.watch.before | {"packages": environment_fingerprint()["packages"]}
        found = Interference(machine_after=dict(after or {}), warnings=tuple(self.watch.warnings))
        write_recording(self.folder, machine, entries, pairs, found, complete=after is not None)
        self.is_written = True

    @contextmanager
    def told_if_stopped(self) -> Iterator[None]:
        """Runs a block that measures; when it is stopped, says where the rounds so far are.

        Raises:
            StoppedError: If it was stopped after a round.
        """
        try:
            yield
        except KeyboardInterrupt:
            if not self.is_written:
                raise
            raise StoppedError(f"Stopped; the rounds so far are in {self.folder}") from None


def entries_of(done: Measured, gate: Gate | None) -> tuple[list[dict[str, Any]], Compared]:
    """Entries and pairs of a benchmark file."""
    if isinstance(done, MeasuredCase):
        return [entry_of(done, gate)], []
    return [entry_of(side, gate) for side in (done.first, done.second)], [(done, gate)]
