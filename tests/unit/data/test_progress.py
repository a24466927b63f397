import io
import itertools
import sys
from types import SimpleNamespace

import pytest

from alexnet_impl.data import progress as progress_module
from alexnet_impl.data.progress import Ticker, counted, log_progress, terminal_progress, time_text

pytestmark = pytest.mark.fast


def test_counted_items_are_reported_seldom_and_at_the_end():
    reports = []
    items = counted(range(10_000), "work", 10_000, lambda *report: reports.append(report))
    assert list(items) == list(range(10_000))
    assert reports[-1] == ("work", 10_000, 10_000)
    assert len(reports) == 200


def test_counted_reports_every_one_of_a_few_items():
    reports = []
    list(counted("abc", "work", 3, lambda *report: reports.append(report)))
    assert reports == [("work", 1, 3), ("work", 2, 3), ("work", 3, 3)]


def test_progress_in_a_log_is_a_line_every_30_seconds(monkeypatch):
    stream, now = io.StringIO(), [0.0]
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress_module, "Ticker", lambda: Ticker(lambda: now[0]))
    with terminal_progress() as progress:
        for done in range(1, 62):
            now[0] += 1.0
            progress("Decoding images", 100 * done, 60_000)
        now[0] += 40.0
        progress("Downloading a file", 2**20, 0)
    assert stream.getvalue().splitlines() == [
        "Decoding images: 3,000 of 60,000, 10 min left",
        "Decoding images: 6,000 of 60,000, 9 min left",
        "Downloading a file: 1,048,576",
    ]


@pytest.mark.parametrize(
    ("time_s", "text"),
    [
        (4.4, "4 s"),
        (99.0, "99 s"),
        (1500.0, "25 min"),
        (2346 * 3.3, "2 h 10 min"),
        (3590.0, "1 h"),
        (47.9 * 3600, "47 h 55 min"),
        (300_000.0, "3.5 days"),
    ],
)
def test_duration_is_said_in_words(time_s, text):
    assert time_text(time_s) == text


def test_progress_that_nobody_reads_any_more_ends_nothing():
    """`alexnet train 2>&1 | head` leaves such a stream behind."""
    written = []

    def write(line):
        written.append(line)
        raise BrokenPipeError

    log_progress(SimpleNamespace(write=write), Ticker(itertools.count(0, 100).__next__))("x", 5, 9)
    assert written


def test_terminal_progress_draws_on_a_terminal(monkeypatch):
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with terminal_progress() as progress:
        progress("Decoding images", 1, 2)
        progress("Decoding images", 2, 2)
        progress("of unknown length", 5, 0)
        progress("Downloading [/x]", 1, 2)
    assert "Decoding images" in stream.getvalue()
    assert "Downloading [/x]" in stream.getvalue()
