"""One framework per process: start a worker, pass it requests, relay what it says.

A request is one JSON line on the worker's standard input; what it says are JSON lines on its
standard output; the rest goes to a log. Neither side needs the other's packages. A worker serves
requests until its input ends, so that a series of runs imports the framework once.
"""

import contextlib
import functools
import gc
import json
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import IO, Any

from alexnet_impl.data.config import DataConfig
from alexnet_impl.data.dataset import Dataset
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.errors import AlexNetError, RunError, StoppedError
from alexnet_impl.processes.host_memory import keep_freed_memory
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.runs.records import RunResult
from alexnet_impl.training.events import Observer
from alexnet_impl.training.observers import JsonObserver, replay
from alexnet_impl.training.start import resume_run, start_run

LOG_LINES = 5


def log_of(folder: Path) -> Path:
    """Where the worker of a run folder logs: beside it."""
    return folder.with_name(f"{folder.name}.log")


def train_in_worker(
    config: RunConfig, folder: Path, observer: Observer, *, interpreter: str = sys.executable
) -> RunResult:
    """Train in a process of its own, or go on with a run that was interrupted there.

    Args:
        config: What to do.
        folder: The run folder to write; the worker's log goes beside it.
        observer: Is told of the progress.
        interpreter: The Python to run; its environment needs this package and one framework.

    Returns:
        What is in the folder's result.json.

    Raises:
        RunError: If the worker refused, failed or was killed; with its own words.
        StoppedError: If Ctrl-C came before the worker could save a state.
    """
    log = log_of(folder)
    workers: list[subprocess.Popen[str]] = []
    with log.open("w") as file, _ctrl_c_stops(workers) as interrupts:
        worker = _start(interpreter, config.framework, file)
        workers.append(worker)
        if interrupts:  # while it was being started
            worker.terminate()
        with worker:
            message = _relay(worker, _request(config, folder), observer)
    if worker.returncode != 0 and interrupts:
        raise StoppedError(f"stopped while {config.framework} was starting or ending")
    if message:
        raise RunError(message)
    if worker.returncode != 0:
        raise RunError(_last_words(config.framework, worker.returncode, log))
    return RunFolder.open(folder).result or _no_result(folder)


class WorkerSeries:
    """A worker that trains one run after the other; worker_series() starts and ends it."""

    def __init__(self, framework: str, log: Path, interrupts: list[int]) -> None:
        self.framework, self.log, self.interrupts = framework, log, interrupts
        self.worker: subprocess.Popen[str] | None = None

    def train(self, config: RunConfig, folder: Path, observer: Observer) -> RunResult:
        """Train one run, or go on with it where it was interrupted.

        Args:
            config: What to do.
            folder: The run folder to write.
            observer: Is told of the progress.

        Returns:
            What is in the folder's result.json: a run that diverged does not end the series.

        Raises:
            RunError: If the worker refused, failed or was killed; with its own words.
            StoppedError: If Ctrl-C came between two runs.
        """
        if self.interrupts:
            raise StoppedError(f"stopped between two runs of {self.framework}")
        message = self._serve(_request(config, folder, in_series=True), observer)
        result = RunFolder.open(folder).result if (folder / "run.json").is_file() else None
        if message and (result is None or result.status == "interrupted"):
            raise RunError(message)
        return result or _no_result(folder)

    def _serve(self, request: str, observer: Observer) -> str:
        """Hand over a request and replay its events; the worker's message if it failed."""
        worker = self.worker
        if worker is None or worker.stdin is None or worker.stdout is None:
            raise RunError(f"{self.framework}: the worker of this series has ended.")
        try:
            worker.stdin.write(request + "\n")
            worker.stdin.flush()
        except BrokenPipeError:
            raise self._lost() from None
        message = ""
        for event in _events(worker.stdout):
            match event["event"]:
                case "served":
                    return message
                case "error":
                    message = str(event["message"])
                case _:
                    replay(event, observer)
        raise self._lost()

    def _lost(self) -> RunError:
        """Why the worker is not there any more."""
        code = self.worker.wait() if self.worker is not None else 0
        if self.interrupts:
            return StoppedError(f"stopped while {self.framework} was starting or ending")
        return RunError(_last_words(self.framework, code, self.log))


@contextmanager
def worker_series(
    framework: str, log_path: Path, *, interpreter: str = sys.executable
) -> Iterator[WorkerSeries]:
    """A worker for several runs of one framework: importing it once saves seconds a run.

    Args:
        framework: Of all the runs.
        log_path: Where all goes that the worker prints beside its events.
        interpreter: The Python to run; its environment needs this package and the framework.

    Raises:
        RunError: If the interpreter cannot be started.
    """
    workers: list[subprocess.Popen[str]] = []
    with log_path.open("w") as log, _ctrl_c_stops(workers) as interrupts:
        series = WorkerSeries(framework, log_path, interrupts)
        series.worker = _start(interpreter, framework, log)
        workers.append(series.worker)
        if interrupts:  # while it was being started
            series.worker.terminate()
        try:
            yield series
        except BaseException:
            series.worker.terminate()  # in the middle of a run it saves its state first
            raise
        finally:
            _close(series.worker)
            series.worker = None


def _close(worker: "subprocess.Popen[str]") -> None:
    """End a worker by ending its input, and wait for it."""
    with contextlib.suppress(BrokenPipeError), worker:
        if worker.stdin is not None:
            worker.stdin.close()
        if worker.stdout is not None:
            worker.stdout.read()  # or a worker with more to say would wait for a reader


def _start(interpreter: str, framework: str, log: IO[str]) -> "subprocess.Popen[str]":
    try:
        return subprocess.Popen(  # noqa: S603 - the user chose the interpreter
            [interpreter, "-P", "-m", "alexnet_impl", "worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    except OSError as error:
        raise RunError(
            f"{interpreter}: cannot be started ({error.strerror}); give --interpreter "
            f"{framework}=PYTHON the path of a Python."
        ) from error


def _request(config: RunConfig, folder: Path, *, in_series: bool = False) -> str:
    """One line; of a series, each answer ends with the event 'served'."""
    request = {"config": config.to_dict(), "folder": str(folder.resolve())}
    return json.dumps(request | ({"series": True} if in_series else {}))


def _no_result(folder: Path) -> RunResult:
    raise RunError(f"{folder}: the worker ended without a result.")


def _relay(worker: "subprocess.Popen[str]", request: str, observer: Observer) -> str:
    """Hand over the request and replay every event; the worker's message if it failed."""
    if worker.stdin is None or worker.stdout is None:
        raise RunError("the worker has no pipes.")
    try:
        worker.stdin.write(request + "\n")
        worker.stdin.close()
    except BrokenPipeError:
        return ""  # it has died already; its log says why
    for event in _events(worker.stdout):
        if event["event"] == "error":
            worker.wait()
            return str(event["message"])
        replay(event, observer)
    return ""


def _events(stream: IO[str]) -> Iterator[dict[str, Any]]:
    for line in stream:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # a library printed something
        if isinstance(event, dict) and "event" in event:
            yield event


@contextmanager
def _ctrl_c_stops(workers: list["subprocess.Popen[str]"]) -> Iterator[list[int]]:
    """On Ctrl-C ask the workers to end, and note it; a worker that trains saves its state first.

    The terminal sends Ctrl-C to the worker as well, but one that is still importing may lose it:
    SIGTERM ends it there, and means the same as Ctrl-C to the training loop.
    """
    interrupts: list[int] = []

    def stop(number: int, _: object) -> None:
        interrupts.append(number)
        for worker in workers:
            worker.terminate()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)


def _last_words(framework: str, code: int, log: Path) -> str:
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    with log.open(errors="replace") as file:
        lines = [line.strip() for line in deque(file, LOG_LINES) if line.strip()]
    if any("No module named alexnet_impl" in line for line in lines):
        return f"{framework}: its interpreter has no alexnet_impl; install it there with pip."
    said = lines[-1] if lines else "it said nothing"
    return f"{framework}: the worker {how}: {said} (all of it in {log})"


def serve() -> int:
    """Be a worker: train what each request says, one after the other, and say how it goes.

    Returns:
        The exit code: 0 if every run ended or was stopped, 1 if one failed.

    Raises:
        RunError: If the input ends before the first request.
    """
    keep_freed_memory()
    observer = JsonObserver(sys.stdout)
    # Runs of a series often share their images.
    load = functools.lru_cache(maxsize=1)(_load)
    codes = set()
    with redirect_stdout(sys.stderr):
        for line in _lines():
            request = json.loads(line)
            if trouble := _serve_one(request, load, observer):
                observer.send("error", message=trouble)
            codes.add(1 if trouble else 0)
            if request.get("series"):
                observer.send("served")
                gc.collect()  # a trainer's circles would stay beside the next one's
    if not codes:
        raise RunError("worker: its input held no request; `alexnet compare` starts it with one.")
    return max(codes)


def _lines() -> Iterator[str]:
    """The requests, until the input ends or Ctrl-C comes between two."""
    try:
        yield from iter(sys.stdin.readline, "")
    except KeyboardInterrupt:
        return


_Load = Callable[[DataConfig, float, str, int], Dataset]


def _load(data: DataConfig, fraction: float, split: str, seed: int) -> Dataset:
    return load_dataset(data, validation_fraction=fraction, validation_split=split, seed=seed)


def _serve_one(request: dict[str, Any], load: _Load, observer: JsonObserver) -> str:
    """Train one run; what kept it from its end, in words, or nothing."""
    try:
        config = RunConfig.from_dict(request["config"])
        recipe = config.recipe
        dataset = load(
            config.data, recipe.validation_fraction, recipe.validation_split, recipe.seed
        )
        path = Path(request["folder"])
        if (path / "run.json").is_file():
            resume_run(RunFolder.open(path), dataset, observer, weights=config.weights)
        else:
            start_run(path, config, dataset, observer)
    except KeyboardInterrupt:
        return "stopped before the first step"
    except (AlexNetError, OSError, MemoryError) as error:
        return str(error) or type(error).__name__
    return ""
