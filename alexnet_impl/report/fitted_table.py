"""Terminal tables that adapt to the width: columns where every word fits, otherwise lines."""

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

_INDENT = 4
_ANY_WIDTH = 1_000_000
_SHORTEST = 4
"""Characters that a column with an ellipsis keeps."""


class FittedTable(Table):
    """A table that breaks no word: where words do not fit, each row becomes lines 'header: cell'.

    In a file or a pipe the table is as wide as its words need.

    Attributes:
        may_shorten: Whether columns that are not wrapped may end in an ellipsis on a terminal.
    """

    may_shorten = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render as a table if every word fits into the width, otherwise as lines."""
        sizes = [self._sizes(console, options, column) for column in self.columns]
        around = Measurement.get(console, options.update(width=_ANY_WIDTH), self).maximum
        around -= sum(largest for _, largest in sizes)  # box and padding
        least = around + sum(smallest for smallest, _ in sizes)
        if least > options.max_width and console.is_terminal:
            yield from self._as_lines()
            return
        width = max(options.max_width, least)
        chosen = _chosen(sizes, width - around)
        before = [column.width for column in self.columns]
        try:
            for column, one in zip(self.columns, chosen, strict=True):
                column.width = one
            yield from super().__rich_console__(console, options.update(width=width))
        finally:
            for column, width_before in zip(self.columns, before, strict=True):
                column.width = width_before

    def _sizes(self, console: Console, options: ConsoleOptions, column: Column) -> tuple[int, int]:
        """Widths of a column that break no word, and that wrap nothing."""
        wide = options.update(width=_ANY_WIDTH)
        found = [Measurement.get(console, wide, cell) for cell in (column.header, *column.cells)]
        smallest, largest = max(one.minimum for one in found), max(one.maximum for one in found)
        if not column.no_wrap:
            return smallest, largest
        shorter = min(_SHORTEST, largest)
        return shorter if self.may_shorten and console.is_terminal else largest, largest

    def _as_lines(self) -> Iterator[Text | Padding]:
        """The first cell of each row, and below it the other cells, each after its header."""
        if self.title:
            yield Text(str(self.title), style="italic")
        headers = [_one_line(column.header) for column in self.columns]
        for cells in zip(*(column.cells for column in self.columns), strict=True):
            first, *others = (_one_line(cell) for cell in cells)
            if first:
                first.stylize("bold")
                yield first
            for header, cell in zip(headers[1:], others, strict=True):
                if cell:
                    head = Text.assemble(header, ": ") if header else Text()
                    yield Padding(Text.assemble(head, cell), (0, 0, 0, _INDENT))
        if self.caption:
            yield Text(str(self.caption), style="dim")


def _chosen(sizes: Sequence[tuple[int, int]], room: int) -> list[int]:
    """Widths of columns that fit into the room: the widest are narrowed first."""
    limit = max(largest for _, largest in sizes)
    while limit and sum(_limited(size, limit) for size in sizes) > room:
        limit -= 1
    return [_limited(size, limit) for size in sizes]


def _limited(size: tuple[int, int], limit: int) -> int:
    smallest, largest = size
    return max(smallest, min(largest, limit))


def _one_line(cell: object) -> Text:
    """A cell as text without line breaks."""
    text = cell.copy() if isinstance(cell, Text) else Text(str(cell))
    return Text(" ").join(text.split()) if "\n" in text.plain else text
