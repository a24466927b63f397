"""Trains runs in worker processes, one framework per process, and relays their progress.

A worker trains one run after the other until its input ends, so that a series of runs imports the
framework once. training_service.py is the other side.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alexnet_impl.errors import DivergedError, RunError, StoppedError
from alexnet_impl.processes.launch import WorkerProcess, start_worker
from alexnet_impl.processes.messages import run_to_dict
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.runs.records import RunResult
from alexnet_impl.training.events import Observer, event_from_json
from alexnet_impl.training.prepare import PreparedRun
from alexnet_impl.training.stopping import STOP_SIGNALS, handle_signals


def log_of(folder: Path) -> Path:
    """The log of the worker that trains a run folder: a file beside the folder."""
    return folder.with_name(f"{folder.name}.log")


def train_in_worker(
    run: PreparedRun, folder: Path, observer: Observer, *, interpreter: str = sys.executable
) -> RunResult:
    """Trains one run in a worker process, or continues it where it was interrupted.

    The worker's log lies beside the run folder; `interpreter` needs this package and the framework.

    Raises:
        RunError: See WorkerSeries.train().
        StoppedError: If the user stopped it, even if that was too late for this run.
    """
    framework = run.config.framework
    with worker_series(framework, log_of(folder), interpreter=interpreter) as series:
        return series.train(run, folder, observer)


class WorkerSeries:
    """A worker that trains one run after the other; worker_series() starts and ends it."""

    def __init__(self, framework: str, log: Path, interrupts: list[int]) -> None:
        self.framework, self.log, self.interrupts = framework, log, interrupts
        self.worker: WorkerProcess | None = None

    def train(self, run: PreparedRun, folder: Path, observer: Observer) -> RunResult:
        """Trains one run, or continues it where it was interrupted.

        Raises:
            DivergedError: If the run diverged; the worker can train the next one.
            RunError: If the worker refused the run, failed or was killed; with its message.
            StoppedError: If the user stopped it; says where.
        """
        self.check_not_stopped()
        if self.worker is None:
            raise RunError(f"{self.framework}: the worker of this series has ended.")
        self.worker.send({"run": run_to_dict(run), "folder": str(folder.resolve())})
        message = ""
        while (event := self._next_event(self.worker))["event"] != "done":
            if event["event"] == "error":
                message = str(event["message"])
            else:
                observer(event_from_json(event))
        result = RunFolder.open(folder).result if (folder / "run.json").is_file() else None
        if message:
            raise self._failure(message, result)
        if result is None:
            raise RunError(f"{folder}: the worker process wrote no result.")
        if result.status == "interrupted":
            raise StoppedError(f"Stopped {self.framework} after step {result.steps}")
        return result

    def check_not_stopped(self) -> None:
        """Raises StoppedError if a signal has come."""
        if self.interrupts:
            raise StoppedError(f"Stopped between two runs of {self.framework}")

    def _next_event(self, worker: WorkerProcess) -> dict[str, Any]:
        try:
            while "event" not in (event := worker.receive()):
                pass  # a library printed it
        except RunError as error:
            if self.interrupts:
                raise self._stopped() from None
            raise RunError(f"{error} (the whole log: {self.log})") from None
        return event

    def _failure(self, message: str, result: RunResult | None) -> RunError:
        """The error that the worker's message stands for."""
        if self.interrupts and result is None:
            return self._stopped()
        diverged = result is not None and result.status == "diverged"
        return DivergedError(message) if diverged else RunError(message)

    def _stopped(self) -> StoppedError:
        return StoppedError(f"Stopped while {self.framework} was starting or ending")


@contextmanager
def worker_series(
    framework: str, log: Path, *, interpreter: str = sys.executable
) -> Iterator[WorkerSeries]:
    """Starts a worker for several runs of one framework: importing it once saves seconds a run.

    The log holds everything that the worker prints; `interpreter` needs this package and the
    framework.

    Raises:
        RunError: If the interpreter cannot be started.
        StoppedError: If a signal came during the last run, too late for it.
    """
    workers: list[WorkerProcess] = []
    with _signals_stop(workers) as interrupts:
        worker = start_worker("training", framework, log, interpreter=interpreter)
        workers.append(worker)
        if interrupts:  # while it was being started
            worker.stop()
        series = WorkerSeries(framework, log, interrupts)
        series.worker = worker
        try:
            yield series
            series.check_not_stopped()
        except BaseException:
            worker.stop()
            raise
        finally:
            series.worker = None
            worker.close()


@contextmanager
def _signals_stop(workers: list[WorkerProcess]) -> Iterator[list[int]]:
    """Notes Ctrl-C, SIGTERM and SIGHUP, and asks the workers to end; a training is saved first.

    The terminal sends Ctrl-C to the worker as well, but one that is still importing may lose it:
    SIGTERM ends it there, and means the same as Ctrl-C to the training loop.
    """
    interrupts: list[int] = []

    def stop(number: int) -> None:
        interrupts.append(number)
        for worker in workers:
            worker.stop()

    with handle_signals(STOP_SIGNALS, stop):
        yield interrupts
