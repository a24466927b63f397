"""Text from outside is printed as it is, without terminal escapes, in any encoding."""

import io
import sys

import pytest
from rich.table import Table
from rich.text import Text

from alexnet_impl.report.printing import PlainConsole, encode_everything, printable

pytestmark = pytest.mark.fast

HOSTILE = "[red]a[/x] :bug: \x1b[31mb\x1b]0;owned\x07\x9b1mc\r\u202ed"
SHOWN = "[red]a[/x] :bug: [31mb]0;owned1mcd"


def printed(monkeypatch, *renderables, encoding="utf-8"):
    """What a console writes to a standard output of this encoding, as text."""
    stream = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(stream, encoding=encoding))
    encode_everything()
    console = PlainConsole()
    for renderable in renderables:
        console.print(renderable)
    sys.stdout.flush()
    return stream.getvalue().decode(encoding)


def test_printable_keeps_lines_and_tabs():
    assert printable(f"{HOSTILE}\n\tü图") == f"{SHOWN}\n\tü图"


def test_console_prints_neither_markup_nor_escapes(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    table = Table(title=HOSTILE)
    table.add_column(Text(HOSTILE))
    table.add_row(HOSTILE)
    found = printed(monkeypatch, HOSTILE, table)
    assert found.count(SHOWN) == 4
    assert "\x1b" not in found
    rows = [line for line in found.splitlines() if line[:1] in "┏┃┡│└"]
    assert len({len(row) for row in rows}) == 1


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", r"\xfc\u56fe"), ("latin-1", r"ü\u56fe")])
def test_any_encoding_shows_similar_characters_or_their_codes(monkeypatch, encoding, shown):
    text = "✓ ✗ — … ü图\udcff"
    assert printed(monkeypatch, text, encoding=encoding) == f"+ x - ~ {shown}\\udcff\n"
