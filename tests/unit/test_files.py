"""Leftovers of killed writers, and locks."""

import errno
import io
import os
import threading

import filelock
import pytest
from support.leftovers import GONE, write_leftover

from alexnet_impl.data.progress import Ticker, log_progress
from alexnet_impl.files import (
    hold_lock,
    is_temporary,
    remove_abandoned,
    replace_whole,
    write_bytes,
)

pytestmark = pytest.mark.fast

ELSEWHERE = "0" * 8
HOURS = 3600.0


@pytest.mark.parametrize(
    ("writer", "is_left"),
    [
        ({}, False),
        ({"pid": os.getppid()}, True),
        ({"pid": os.getppid(), "age_s": 2 * HOURS}, False),
        ({"place": ELSEWHERE}, True),
        ({"place": ELSEWHERE, "age_s": 2 * HOURS}, False),
    ],
    ids=["gone", "alive", "a process that got its number", "elsewhere", "elsewhere, hours ago"],
)
def test_writer_removes_what_killed_writers_have_left_in_its_folder(tmp_path, writer, is_left):
    leftover = write_leftover(tmp_path / "other", **writer)
    write_bytes(tmp_path / "new", b"whole")
    assert leftover.exists() == is_left
    assert (tmp_path / "new").read_bytes() == b"whole"


def test_in_a_folder_that_is_held_every_leftover_is_removed(tmp_path):
    for writer in ({}, {"pid": os.getppid()}, {"place": ELSEWHERE}):
        write_leftover(tmp_path / "run.json", **writer)
    remove_abandoned(tmp_path, is_held=True)
    assert list(tmp_path.iterdir()) == []


def test_files_of_the_user_are_no_leftovers(tmp_path):
    names = [".20261201-new", ".1-new", ".alexnet-notes", f".alexnet-{ELSEWHERE}-x-new", ".tmp12ab"]
    for name in names:
        (tmp_path / name).write_text("mine")
        os.utime(tmp_path / name, (0, 0))
    write_leftover(tmp_path / "new").rename(tmp_path / "kept")
    folder = tmp_path / f".alexnet-{ELSEWHERE}-{GONE}-folder"
    folder.mkdir()
    remove_abandoned(tmp_path, is_held=True)
    write_bytes(tmp_path / "new", b"")
    assert {path.name for path in tmp_path.iterdir()} == {*names, "new", "kept", folder.name}


def test_temporary_file_is_known_by_its_name_and_never_removed_by_another_thread(tmp_path):
    with replace_whole(tmp_path / "a\nb") as temporary:
        temporary.touch()
        assert is_temporary(temporary)
        write_bytes(tmp_path / "new", b"")
        assert temporary.exists()


class Holder:
    """Holds a lock in a thread until it is released."""

    def __init__(self, path):
        self.held, self.free = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._hold, args=(path,))
        self.thread.start()
        self.held.wait()

    def _hold(self, path):
        with hold_lock(path):
            self.held.set()
            self.free.wait()

    def release(self):
        self.free.set()
        self.thread.join()


@pytest.fixture
def holder(tmp_path):
    found = Holder(tmp_path / "lock")
    yield found
    found.release()


def test_lock_that_is_held_is_refused_after_a_while(holder, tmp_path):  # noqa: ARG001
    with pytest.raises(TimeoutError), hold_lock(tmp_path / "lock", 0.0):
        pass


def test_log_says_every_30_seconds_that_it_waits(holder, tmp_path):
    stream, now = io.StringIO(), [0.0]
    progress = log_progress(stream, Ticker(lambda: now[0]))

    def waiting():
        now[0] += 20.0
        progress("Waiting for another download of cifar.tgz", 0, 0)
        if now[0] == 80.0:
            holder.release()

    with hold_lock(tmp_path / "lock", give_up=waiting):
        pass
    assert stream.getvalue().splitlines() == ["Waiting for another download of cifar.tgz"] * 2
    assert not (tmp_path / "lock").exists()


def test_without_locks_on_a_drive_nobody_is_kept_away(tmp_path, monkeypatch):
    def missing(*_, **__):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", missing)
    with hold_lock(tmp_path / "lock"), hold_lock(tmp_path / "lock", 0.0):
        pass


def test_lock_file_that_windows_does_not_remove_is_released(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "it is open")

    for _ in range(2):
        with monkeypatch.context() as patch, hold_lock(tmp_path / "lock", 0.0):
            patch.setattr(type(tmp_path), "unlink", refuse)
