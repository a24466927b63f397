"""Standard output and error that a command outlives: a closed or full one ends no training."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from alexnet_impl.errors import is_closed_pipe


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
