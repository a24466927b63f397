"""One framework per process: start a worker, pass it a request, relay what it says.

The request is one JSON line on the worker's standard input; what it says are JSON lines on its
standard output; the rest goes to a log. Neither side needs the other's packages.
"""

import json
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import IO, Any

from alexnet_impl.data import load_dataset
from alexnet_impl.errors import AlexNetError, RunError, StoppedError
from alexnet_impl.observers import JsonObserver, LineObserver, replay
from alexnet_impl.results import RunConfig, RunFolder, RunResult
from alexnet_impl.training import resume_run, start_run

LOG_LINES = 5


def train_in_worker(
    config: RunConfig, folder: Path, observer: LineObserver, *, interpreter: str = sys.executable
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
    log_path = folder.with_name(f"{folder.name}.log")
    request = json.dumps({"config": config.to_dict(), "folder": str(folder.resolve())})
    workers: list[subprocess.Popen[str]] = []
    with log_path.open("w") as log, _ctrl_c_stops(workers) as interrupts:
        try:
            worker = subprocess.Popen(  # noqa: S603 - the user chose the interpreter
                [interpreter, "-P", "-m", "alexnet_impl", "worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        except OSError as error:
            raise RunError(
                f"{interpreter}: cannot be started ({error.strerror}); give --interpreter "
                f"{config.framework}=PYTHON the path of a Python."
            ) from error
        workers.append(worker)
        if interrupts:  # while it was being started
            worker.terminate()
        with worker:
            message = _relay(worker, request, observer)
    if worker.returncode != 0 and interrupts:
        raise StoppedError(f"stopped while {config.framework} was starting or ending")
    if message:
        raise RunError(message)
    if worker.returncode != 0:
        raise RunError(_last_words(config.framework, worker.returncode, log_path))
    return RunFolder.open(folder).result or _no_result(folder)


def _no_result(folder: Path) -> RunResult:
    raise RunError(f"{folder}: the worker ended without a result.")


def _relay(worker: "subprocess.Popen[str]", request: str, observer: LineObserver) -> str:
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
    """Be a worker: read one request, train, and say how it goes.

    Returns:
        The exit code: 0 if the run ended or was stopped, 1 if it failed.
    """
    observer = JsonObserver(sys.stdout)
    with redirect_stdout(sys.stderr):
        try:
            request = json.loads(sys.stdin.readline())
            config = RunConfig.from_dict(request["config"])
            recipe = config.recipe
            dataset = load_dataset(
                config.data,
                validation_fraction=recipe.validation_fraction,
                validation_split=recipe.validation_split,
                seed=recipe.seed,
            )
            path = Path(request["folder"])
            if (path / "run.json").is_file():
                resume_run(RunFolder.open(path), dataset, observer)
            else:
                start_run(path, config, dataset, observer)
        except KeyboardInterrupt:
            observer.send("error", message="stopped before the first step")
            return 1
        except (AlexNetError, OSError, MemoryError) as error:
            observer.send("error", message=str(error) or type(error).__name__)
            return 1
    return 0
