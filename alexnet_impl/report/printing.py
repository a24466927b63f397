"""Printing of text from outside: no markup, no terminal escapes, in any encoding.

Class names, paths and messages of libraries come from outside. Rich would read '[red]' in them as
a style, and a terminal would obey their escape sequences.
"""

import codecs
import io
import sys
from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_CONTROLS = dict.fromkeys(
    (
        *(*range(9), *range(11, 32), *range(127, 160)),  # all but tab and newline
        *(*range(0x202A, 0x202F), *range(0x2066, 0x206A)),  # they reverse the order of a line
    )
)
PIPED_WIDTH = 160
"""Least width at which text is wrapped if the output is not a terminal."""
_UNLIMITED = 1_000_000
_LOOK_ALIKES = {"✓": "+", "✗": "x", "—": "-", "…": "~"}
"""One character each, so that columns stay where they are."""


def printable(text: str) -> str:
    """The text without control characters; tabs and newlines stay."""
    return text if text.isprintable() else text.translate(_CONTROLS)


class PlainConsole(Console):
    """A console that takes every text as it is, without its control characters.

    A file or a pipe has no width: paragraphs are wrapped at PIPED_WIDTH there, or at COLUMNS if
    that is more, and nothing wider, such as the row of a table, is cut off.
    """

    def __init__(self, file: IO[str] | None = None, *, stderr: bool = False) -> None:
        super().__init__(file=file, stderr=stderr, highlight=False, markup=False, emoji=False)
        self._wrap_at = self.width
        if not self.is_terminal:
            self._wrap_at = max(self.width, PIPED_WIDTH)
            self.width = _UNLIMITED

    @property
    def options(self) -> ConsoleOptions:
        """Options of rendering, with the width at which text is wrapped."""
        return super().options.update(width=self._wrap_at)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render to segments, whose own styles and cursor movements stay."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


class JsonConsole(PlainConsole):
    """The console of a command with --json: it prints on standard error and keeps the result.

    Attributes:
        result: What the command found; None until it is known.
    """

    def __init__(self) -> None:
        super().__init__(stderr=True)
        self.result: Any = None


def encode_everything() -> None:
    """Let standard output and error show a similar character, or a code, for one they lack.

    Without it, a tick in a table ends a command where PYTHONIOENCODING or the locale is ASCII.
    """
    codecs.register_error("alexnet", _look_alike)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="alexnet")


def _look_alike(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeEncodeError):
        one = error.object[error.start]
        if one in _LOOK_ALIKES:
            return _LOOK_ALIKES[one], error.start + 1
        error.end = error.start + 1
    return codecs.backslashreplace_errors(error)
