"""Calls to a worker process and their answers: JSON lines, and arrays as safetensors files.

Neither side needs the other's packages.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alexnet_impl.errors import AlexNetError, RunError
from alexnet_impl.files import save_file
from alexnet_impl.processes.launch import WorkerProcess, start_worker, worker_pipes
from alexnet_impl.weights.canonical import Weights
from alexnet_impl.weights.safetensors_io import read_safetensors

Answer = tuple[Any, Weights]
"""Values that JSON can hold, and arrays of any shape by name."""


class Channel:
    """Calls to a worker process, one at a time; open_channel() starts and ends it.

    Attributes:
        worker: The process that answers.
        folder: The folder that arrays are exchanged in.
    """

    def __init__(self, worker: WorkerProcess, folder: Path) -> None:
        self.worker, self.folder = worker, folder

    def ask(
        self, call: str, values: dict[str, Any] | None = None, arrays: Weights | None = None
    ) -> Answer:
        """Sends a call and waits for its answer.

        Values are what JSON can hold; arrays are of any shape, by name. So is the answer.

        Raises:
            RunError: If the worker refused, failed or has ended.
        """
        request = {"call": call, "values": values or {}, "arrays": _write(self.folder, arrays)}
        self.worker.send(request | {"folder": str(self.folder)})
        answer = self.worker.receive()
        if "error" in answer:
            start = f"{self.worker.framework}: "
            raise RunError(f"{start}{answer['error'].removeprefix(start)}")
        return answer["values"], _take(answer["arrays"])


@contextmanager
def open_channel(
    framework: str,
    kind: str,
    *,
    interpreter: str = sys.executable,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Channel]:
    """Starts a worker process that answers calls; it ends with the block.

    `kind` is one of those that call answer_calls(); `variables` are added to this process's
    environment, and `interpreter` needs this package and the framework.

    Raises:
        RunError: If the interpreter cannot be started.
    """
    with tempfile.TemporaryDirectory(prefix="alexnet-") as name:
        folder = Path(name)
        log = folder / "log"
        worker = start_worker(kind, framework, log, interpreter=interpreter, variables=variables)
        try:
            yield Channel(worker, folder)
        finally:
            worker.kill()


def _write(folder: Path, arrays: Weights | None) -> str:
    """Writes arrays where the other process finds them; returns the file, or '' without arrays."""
    if not arrays:
        return ""
    descriptor, path = tempfile.mkstemp(dir=folder, suffix=".safetensors")
    os.close(descriptor)
    save_file(arrays, Path(path))
    return path


def _take(path: str) -> Weights:
    """Reads the arrays that the other process wrote, and removes their file."""
    if not path:
        return {}
    arrays, _ = read_safetensors(Path(path))
    Path(path).unlink()
    return arrays


def answer_calls(answer: Callable[[str, dict[str, Any], Weights], Answer]) -> int:
    """Answers calls on standard input until it ends: the worker's side of a channel.

    `answer` returns (values, arrays) for (call, values, arrays).
    """
    with worker_pipes() as (requests, answers):
        for line in requests:
            answers.write(json.dumps(_answer(answer, json.loads(line))) + "\n")
            answers.flush()
    return 0


def _answer(
    answer: Callable[[str, dict[str, Any], Weights], Answer], request: dict[str, Any]
) -> dict[str, Any]:
    try:
        values, arrays = answer(request["call"], request["values"], _take(request["arrays"]))
        return {"values": values, "arrays": _write(Path(request["folder"]), arrays)}
    except (AlexNetError, OSError, MemoryError) as error:
        return {"error": " ".join(str(error).split()) or type(error).__name__}
    except Exception as error:  # noqa: BLE001 - a framework, or a user's layers, raise any kind
        return {"error": f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:300]}"}
