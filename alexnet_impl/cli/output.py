"""Standard output and error that a command outlives: a closed or full one ends no training.

With --json, standard output holds the result as JSON and nothing else.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from alexnet_impl.errors import is_closed_pipe
from alexnet_impl.files import finite
from alexnet_impl.report.printing import JsonConsole


def keep_result(console: Console, result: Callable[[], Any]) -> None:
    """Keep a command's result for --json; without the flag it is not even computed.

    It may hold dataclasses, paths and NumPy numbers.
    """
    if isinstance(console, JsonConsole):
        console.result = result()


def json_text(result: Any) -> str:
    """A result as JSON text; a number that is not finite becomes null."""
    return json.dumps(finite(_plain(result)), indent=1, allow_nan=False)


def _plain(value: Any) -> Any:
    """The value with dicts, lists and text in place of dataclasses, tuples and paths."""
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: _plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.item() if hasattr(value, "item") else str(value)


class Output:
    """A stream of this process, which leads nowhere from the first line that cannot be written.

    Attributes:
        failure: Why a line could not be written, or None. That nobody reads any more, as after
            `alexnet train | head`, is no failure.
    """

    def __init__(self, stream: TextIO | None) -> None:
        # None: it was closed before this process started.
        self._stream = stream or Path(os.devnull).open("w")  # noqa: SIM115 - kept open
        self.failure: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes a text, or drops it; returns its length."""
        self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Writes what the stream still holds, or drops it."""
        self._try(self._stream.flush)

    def _try(self, act: Callable[..., object], *arguments: str) -> None:
        try:
            act(*arguments)
        except OSError as error:
            if not is_closed_pipe(error):
                self.failure = error
            # By file descriptor: Python flushes what the stream holds when it ends.
            with Path(os.devnull).open("w") as nothing:
                os.dup2(nothing.fileno(), self._stream.fileno())
