"""Starts worker processes, the one way to run a second Python: pipes, log, and why one ended.

A worker is `python -P -m alexnet_impl worker KIND`. -P keeps the current directory off its
`sys.path`: no file of the user's is executed because it bears the name of a module. Requests and
answers are JSON objects, one per line, on the worker's standard input and output. A file that is
no worker is run by run_script().
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TextIO

from alexnet_impl.errors import RunError, closed_pipe_ignored

KINDS = ("training", "trainer", "case", "model", "conversion", "doctor")
"""Kinds of workers: each answers requests of its own."""
LOG_LINES = 5
SCRIPT_S = 300
"""Time limit of run_script() in seconds."""
ANSWER_S = 0.5
"""Time between a worker's last answer and its waiting for the next request, at most."""


class WorkerProcess:
    """A worker process that was started, with its pipes and its log.

    Attributes:
        framework: The framework that it runs, for messages.
        process: The operating system's process.
        log: The file with everything that it prints beside its answers.
    """

    def __init__(self, framework: str, process: "subprocess.Popen[str]", log: Path) -> None:
        self.framework, self.process, self.log = framework, process, log

    def send(self, request: dict[str, Any]) -> None:
        """Sends one request; if the worker has ended, receive() says so."""
        stdin = _pipe(self.process.stdin)
        with closed_pipe_ignored():
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()

    def receive(self) -> dict[str, Any]:
        """The worker's next JSON object; other lines are what a library printed.

        Raises:
            RunError: If the worker has ended: how, and the last line of its log.
        """
        for line in _pipe(self.process.stdout):
            if (message := _json_object(line)) is not None:
                return message
        raise RunError(_last_words(self.framework, self.process.wait(), self.log))

    def stop(self) -> None:
        """Asks the worker to end; one that trains saves its state first."""
        self.process.terminate()

    def close(self) -> None:
        """Ends the worker by ending its input, and waits for it."""
        with closed_pipe_ignored(), self.process:
            _pipe(self.process.stdin).close()
            _pipe(self.process.stdout).read()  # a worker with more to say would wait for a reader

    def kill(self) -> None:
        """Ends the worker at once, whatever it is doing."""
        # Not the process as a context manager: closing the pipe of a dead one raises.
        self.process.kill()
        self.process.communicate()


def start_worker(
    kind: str,
    framework: str,
    log: Path,
    *,
    interpreter: str = sys.executable,
    variables: Mapping[str, str] | None = None,
) -> WorkerProcess:
    """Starts a worker process; the caller ends it.

    `variables` are added to this process's environment; `interpreter` needs this package and the
    framework.

    Raises:
        RunError: If the interpreter cannot be started.
    """
    with log.open("w") as file:
        try:
            process = subprocess.Popen(  # noqa: S603 - the user chose the interpreter
                [interpreter, "-P", "-m", "alexnet_impl", "worker", kind],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                env=os.environ | (variables or {}),
            )
        except OSError as error:
            raise RunError(
                f"{interpreter}: cannot be started ({error.strerror}); give --interpreter "
                f"{framework}=PYTHON the path of a Python."
            ) from error
    return WorkerProcess(framework, process, log)


def run_script(
    framework: str,
    script: Path,
    *,
    interpreter: str = sys.executable,
    variables: Mapping[str, str] | None = None,
) -> str:
    """Runs a Python file that is no worker, and returns what it prints.

    `variables` are added to this process's environment; `interpreter` needs the framework alone.

    Raises:
        RunError: If the interpreter cannot be started, or the file fails or takes SCRIPT_S seconds.
    """
    command = [interpreter, "-P", str(script)]
    try:
        done = subprocess.run(  # noqa: S603 - the user chose the interpreter
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=os.environ | (variables or {}),
            timeout=SCRIPT_S,
            check=False,
        )
    except OSError as error:
        raise RunError(f"{interpreter}: cannot be started ({error.strerror}).") from error
    except subprocess.TimeoutExpired as error:
        raise RunError(f"{framework}: {script.name} took more than {SCRIPT_S} s.") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["printed nothing"]
        raise RunError(f"{framework}: {script.name} failed: {said[-1].strip()}")
    return done.stdout


class Requests:
    """The lines of a worker's standard input, which its parent keeps open as long as it lives.

    If the input ends while a request is being answered, the parent has died: SIGTERM then ends this
    process, and a training saves its state first. A pipe is closed however its writer dies, on
    every system, and also if the worker is not the parent's own child but that of a script.
    """

    def __init__(self, descriptor: int) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, args=(descriptor,), daemon=True).start()

    def __iter__(self) -> Iterator[str]:
        """Yields one request after the other; each is answered when the next is asked for."""
        while (line := self._lines.get()) is not None:
            yield line
            self._lines.task_done()

    def _read(self, descriptor: int) -> None:
        # By file descriptor: Python waits at its end for a stream that a thread reads.
        rest = b""
        while chunk := os.read(descriptor, 1 << 16):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._lines.put(line.decode())
        if self._lines.unfinished_tasks:
            time.sleep(ANSWER_S)
        if self._lines.unfinished_tasks:
            signal.raise_signal(signal.SIGTERM)
        self._lines.put(None)


@contextmanager
def worker_pipes() -> Iterator[tuple[Requests, TextIO]]:
    """Opens the worker's side of its pipes: the requests and the stream for answers.

    Inside the block, what anything else prints goes to standard error, and whoever reads standard
    input finds none.
    """
    # By file descriptor: native libraries and subprocesses print as well.
    requests, answers = Requests(os.dup(0)), os.fdopen(os.dup(1), "w")
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    try:
        yield requests, answers
    finally:
        with closed_pipe_ignored():
            answers.close()


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise RunError("the worker process has no pipes.")
    return stream


def _json_object(line: str) -> dict[str, Any] | None:
    """The JSON object of a line; None if a library printed it, or if the worker died within it."""
    if line.startswith("{"):
        with suppress(ValueError):
            return dict(json.loads(line))
    return None


def _last_words(framework: str, code: int, log: Path) -> str:
    """How a worker ended, and the last line of its log."""
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    with log.open(errors="replace") as file:
        lines = [line.strip() for line in deque(file, LOG_LINES) if line.strip()]
    if any("No module named alexnet_impl" in line for line in lines):
        return f"{framework}: its interpreter has no alexnet_impl; install it there with pip."
    said = lines[-1] if lines else "it printed nothing"
    return f"{framework}: the worker process {how}: {said}"
