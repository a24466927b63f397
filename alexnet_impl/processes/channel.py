"""Requests to a process of one framework: a JSON line each way, arrays in files beside it.

Neither side needs the other's packages.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from alexnet_impl.errors import AlexNetError, RunError
from alexnet_impl.weights.canonical import Weights
from alexnet_impl.weights.safetensors_io import read_safetensors

Answer = tuple[Any, Weights]
"""Plain values, and arrays by name."""


class Channel:
    """Requests to a serving process, one at a time; open_channel() starts and ends it.

    Attributes:
        name: Of the framework that answers.
        folder: Where arrays travel.
    """

    def __init__(self, name: str, process: "subprocess.Popen[str]", folder: Path) -> None:
        self.name, self.process, self.folder = name, process, folder

    def ask(
        self, call: str, values: dict[str, Any] | None = None, arrays: Weights | None = None
    ) -> Answer:
        """Send a request and wait for its answer.

        Raises:
            RunError: If the other process refused, failed or is gone.
        """
        request = {"call": call, "values": values or {}, "arrays": _put(self.folder, arrays)}
        answer = self._exchange(json.dumps(request))
        if "error" in answer:
            raise RunError(f"{self.name}: {answer['error']}")
        return answer["values"], _take(answer["arrays"])

    def _exchange(self, line: str) -> dict[str, Any]:
        stdin, stdout = self.process.stdin, self.process.stdout
        if stdin is None or stdout is None:
            raise RunError(f"{self.name}: its process has no pipes.")
        with suppress(BrokenPipeError):
            stdin.write(line + "\n")
            stdin.flush()
        for text in stdout:
            if (answer := _read_answer(text)) is not None:
                return answer
        raise RunError(f"{self.name}: its process ended with code {self.process.wait()}.")


def _read_answer(line: str) -> dict[str, Any] | None:
    """None if a library printed the line, or if the other process ended in the middle of it."""
    if line.startswith("{"):
        with suppress(ValueError):
            return dict(json.loads(line))
    return None


@contextmanager
def open_channel(
    name: str,
    subcommand: str,
    *,
    interpreter: str = sys.executable,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Channel]:
    """Start a process that serves; it ends with the block.

    Args:
        name: Of the framework, for messages.
        subcommand: Of `alexnet`, which calls serve().
        interpreter: The Python to run; its environment needs this package and the framework.
        variables: Of its environment, beside this process's own.

    Raises:
        RunError: If it cannot be started; and where one leaves the block after its process died,
            with the last line of its log.
    """
    with (
        tempfile.TemporaryDirectory(prefix="alexnet-") as folder,
        (Path(folder) / "log").open("w") as log,
    ):
        process = _start(name, subcommand, interpreter, os.environ | (variables or {}), log)
        try:
            yield Channel(name, process, Path(folder))
        except RunError as error:
            # The same error, whatever kind of RunError it is: lack of memory is one to be caught.
            said = _last_line(Path(folder) / "log") if process.poll() is not None else ""
            error.args = (f"{error} {said}".strip(),)
            raise
        finally:
            # Not the process as a context manager: closing the pipe of a dead one raises.
            process.kill()
            process.communicate()


def _start(
    name: str, subcommand: str, interpreter: str, variables: Mapping[str, str], log: IO[str]
) -> "subprocess.Popen[str]":
    try:
        return subprocess.Popen(  # noqa: S603 - the user chose the interpreter
            [interpreter, "-P", "-m", "alexnet_impl", subcommand],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=variables,
        )
    except OSError as error:
        raise RunError(
            f"{interpreter}: cannot be started ({error.strerror}); give --interpreter "
            f"{name}=PYTHON the path of a Python."
        ) from error


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _put(folder: Path, arrays: Weights | None) -> str:
    """Write arrays where the other process finds them; '' if there are none."""
    if not arrays:
        return ""
    descriptor, path = tempfile.mkstemp(dir=folder, suffix=".safetensors")
    os.close(descriptor)
    try:
        save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, path)
    except SafetensorError as error:
        raise OSError(f"{path}: cannot be written ({error}).") from error
    return path


def _take(path: str) -> Weights:
    """Read arrays that the other process put down, and remove them."""
    if not path:
        return {}
    arrays, _ = read_safetensors(Path(path))
    Path(path).unlink()
    return arrays


def serve(answer: Callable[[str, dict[str, Any], Weights], Answer]) -> int:
    """Answer requests on standard input until it ends.

    What anything else prints goes to standard error, and whoever reads standard input finds none.

    Args:
        answer: Gives (values, arrays) for (call, values, arrays).

    Returns:
        The exit code, 0.
    """
    # By file descriptor: native libraries and subprocesses print as well.
    with os.fdopen(os.dup(0)) as requests, os.fdopen(os.dup(1), "w") as replies:
        with Path(os.devnull).open() as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(2, 1)
        with tempfile.TemporaryDirectory(prefix="alexnet-") as folder:
            for line in requests:
                replies.write(json.dumps(_reply(answer, json.loads(line), Path(folder))) + "\n")
                replies.flush()
    return 0


def _reply(
    answer: Callable[[str, dict[str, Any], Weights], Answer], request: dict[str, Any], folder: Path
) -> dict[str, Any]:
    try:
        values, arrays = answer(request["call"], request["values"], _take(request["arrays"]))
        return {"values": values, "arrays": _put(folder, arrays)}
    except (AlexNetError, OSError, MemoryError) as error:
        return {"error": " ".join(str(error).split()) or type(error).__name__}
    except Exception as error:  # noqa: BLE001 - a framework, or a user's layers, raise any kind
        return {"error": f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:300]}"}
