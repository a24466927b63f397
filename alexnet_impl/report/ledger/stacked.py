"""Terminal tables whose last cell is long: beside the others if there is room, otherwise below."""

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

NARROW = 120
"""Terminal width below which the last cell gets a line of its own."""
_ROOM = 2
"""Thirds of a wide table's width that all cells but the last may take."""
_LEAST = 10
_INDENT = 4
_GAP = 2

Cells = Sequence[str | Text]


def stacked(
    title: str, header: Sequence[str], rows: Sequence[Cells], width: int, *, unbroken: set[str]
) -> RenderableType:
    """A table; if `width` is below NARROW, lines with the last cell under each.

    The cells of `unbroken` columns are not wrapped.
    """
    if width < NARROW:
        return lines(title, header, rows, width, unbroken=unbroken)
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    widths = _widths(header, rows, _ROOM * width // 3, unbroken)
    for name, columns in zip(header, widths, strict=False):
        table.add_column(name, width=columns, overflow="fold")
    table.add_column(header[-1], ratio=1)
    for cells in rows:
        table.add_row(*cells)
    return table


def lines(
    title: str, header: Sequence[str], rows: Sequence[Cells], width: int, *, unbroken: set[str]
) -> RenderableType:
    """Lines with each row's last cell indented under the others; see stacked()."""
    widths = _widths(header, rows, width, unbroken)
    found: list[RenderableType] = [Text(f"\n{title}", style="italic")]
    found.append(_line(header[:-1], widths, "bold"))
    for cells in rows:
        found += [_line(cells[:-1], widths, ""), Padding(cells[-1], (0, 0, 0, _INDENT))]
    return Group(*found)


def _widths(
    header: Sequence[str], rows: Sequence[Cells], width: int, unbroken: set[str]
) -> list[int]:
    """Widths of all columns but the last: as needed, or an equal part of what is left."""
    whole = [
        max(len(cells[place]) for cells in (header, *rows)) for place in range(len(header) - 1)
    ]
    left = width - sum(whole) - _GAP * len(whole)
    broken = [n for name, n in zip(header, whole, strict=False) if name not in unbroken]
    if left >= 0 or not broken:
        return whole
    most = max(_LEAST, (left + sum(broken)) // len(broken))
    return [n if name in unbroken else min(n, most) for name, n in zip(header, whole, strict=False)]


def _line(cells: Cells, widths: Sequence[int], style: str) -> Table:
    line = Table.grid(padding=(0, _GAP, 0, 0))
    for width in widths:
        line.add_column(width=width, overflow="fold", style=style)
    line.add_row(*cells)
    return line
