"""What rich's tables show, as text."""

import io

from rich.console import Console


def shown(*renderables, width=200):
    """The text that a terminal of this width shows."""
    console = Console(file=io.StringIO(), width=width)
    console.print(*renderables)
    return console.file.getvalue()


def row_of(table, name):
    """The cells of the row that starts with that name, as text."""
    columns = [[str(cell) for cell in column.cells] for column in table.columns]
    return [column[columns[0].index(name)] for column in columns]
