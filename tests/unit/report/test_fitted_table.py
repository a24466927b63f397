"""Terminal tables adapt to the width, and no word is broken."""

import io

import pytest
from rich.text import Text

from alexnet_impl.report.fitted_table import FittedTable
from alexnet_impl.report.listings import recipes_table, sources_table, variants_table
from alexnet_impl.report.printing import PIPED_WIDTH, PlainConsole
from alexnet_impl.report.run.tables import comparison_table, equality_table

pytestmark = pytest.mark.fast


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def shown(monkeypatch):
    """What a terminal of this width shows, or without a width what a pipe receives."""

    def shown(table, width=None):
        monkeypatch.setenv("TERM", "dumb")
        monkeypatch.delenv("COLUMNS", raising=False)
        if width is not None:
            monkeypatch.setenv("COLUMNS", str(width))
            monkeypatch.setenv("LINES", "100")  # without it a dumb terminal is 80 wide
        console = PlainConsole(file=io.StringIO() if width is None else Terminal())
        console.print(table)
        return console.file.getvalue()

    return shown


def table_of(*rows, header=("name", "what it is", "count"), **options):
    table = FittedTable(title="Things", **options)
    for name in header:
        table.add_column(name)
    for row in rows:
        table.add_row(*row)
    return table


ROW = ("a-long-name", "several short words that can be wrapped", "12,345")
WORDS = " ".join(ROW).split()


@pytest.mark.parametrize("width", [30, 44, 60, 80, 200, None])
def test_every_word_stays_whole_at_any_width(shown, width):
    text = shown(table_of(ROW), width)
    assert all(word in text.split() for word in WORDS)
    if width is not None:
        assert max(map(len, text.splitlines())) <= width


def test_a_narrow_terminal_gets_lines_with_the_header_before_each_cell(shown):
    assert shown(table_of(ROW, ("b", "", Text("7"))), 26).splitlines() == [
        "Things",
        "a-long-name",
        "    what it is: several   ",
        "    short words that can  ",
        "    be wrapped            ",
        "    count: 12,345         ",
        "b",
        "    count: 7              ",
    ]


def test_the_widest_column_is_narrowed_first(shown):
    lines = shown(table_of(ROW), 44).splitlines()
    assert any("a-long-name" in line and "several short" in line for line in lines)


def test_a_pipe_cuts_nothing_off_and_wraps_paragraphs(shown):
    wide = tuple(f"word-{'x' * 60}-{number}" for number in range(4))
    text = shown(table_of(wide, header=wide))
    assert all(text.count(word) == 2 for word in wide)
    sentence = "a few words " * 40
    assert max(map(len, shown(sentence).splitlines())) <= PIPED_WIDTH


def test_widths_are_found_anew_at_every_print(shown):
    table = table_of(ROW)
    first = shown(table, 44)
    shown(table, 200)
    assert shown(table, 44) == first


@pytest.mark.parametrize("width", [40, 64, 100, None])
@pytest.mark.parametrize("make", [variants_table, sources_table, recipes_table])
def test_lists_show_every_name_whole(shown, make, width):
    table = make()
    text = shown(table, width)
    names = [str(cell) for cell in table.columns[0].cells]
    assert all(name in text.split() for name in names)
    assert "…" not in text


@pytest.mark.parametrize("width", [42, 80, None])
def test_tables_of_runs_break_no_number(shown, pair, width):
    text = shown(comparison_table(pair), width) + shown(equality_table(pair), width)
    for word in ("80.00%", "[68.22%,", "88.17%]", "+5.00", "+11.80]", "1.25x", "fingerprint"):
        assert word in text
    if width is not None:
        assert max(map(len, text.splitlines())) <= width
