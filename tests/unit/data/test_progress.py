import io
import sys

import pytest

from alexnet_impl.data.progress import counted, silent, terminal_progress

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


def test_terminal_progress_is_silent_without_a_terminal(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with terminal_progress() as progress:
        assert progress is silent
        progress("work", 1, 2)
    assert stream.getvalue() == ""


def test_terminal_progress_draws_on_a_terminal(monkeypatch):
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with terminal_progress() as progress:
        progress("Decoding images", 1, 2)
        progress("Decoding images", 2, 2)
        progress("of unknown length", 5, 0)
    assert "Decoding images" in stream.getvalue()
