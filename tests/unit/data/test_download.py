import hashlib
import http.server
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest

from alexnet_impl import files
from alexnet_impl.data.download import RemoteFile, download
from alexnet_impl.errors import DataError

pytestmark = pytest.mark.fast

CONTENT = np.random.default_rng(0).bytes(1_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """An HTTP server on this machine that can misbehave, and what it was asked.

    Attributes:
        url: Where its one file is.
        knows_ranges: Whether it obeys the Range header.
        breaks_after: Bytes of each answer after which the connection is closed.
        status: Answer with this error instead.
        ranges: The Range header of each request.
        etag: The version of its file; None: it names none.
        says_length: Whether it announces the length of its answers.
    """

    url: str = ""
    knows_ranges: bool = True
    breaks_after: list[int] = field(default_factory=list)
    status: int | None = None
    ranges: list[str | None] = field(default_factory=list)
    etag: str | None = '"1"'
    says_length: bool = True


def make_handler(server: Server) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.headers["Range"]
            server.ranges.append(asked)
            is_current = self.headers["If-Range"] in (None, server.etag)
            knows_ranges = server.knows_ranges and is_current
            start = int(asked.removeprefix("bytes=")[:-1]) if asked and knows_ranges else 0
            if server.status or start >= len(CONTENT):
                self.send_error(server.status or 416)
                return
            self.send_response(206 if start else 200)
            if start:
                last = len(CONTENT) - 1
                self.send_header("Content-Range", f"bytes {start}-{last}/{len(CONTENT)}")
            if server.says_length:
                self.send_header("Content-Length", str(len(CONTENT) - start))
            if server.etag:
                self.send_header("ETag", server.etag)
            self.end_headers()
            end = start + server.breaks_after.pop(0) if server.breaks_after else None
            self.wfile.write(CONTENT[start:end])

        def log_message(self, *_):
            pass

    return Handler


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), make_handler(server))
    server.url = f"http://127.0.0.1:{httpd.server_port}/data.tar.gz"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "downloads" / "data.tar.gz"


def part_of(target):
    return target.with_name("data.tar.gz.part")


def fetch(server, target, **options):
    return download(RemoteFile(url=server.url, sha256=SHA256), target, **options)


def test_download_puts_the_checked_file_in_its_place(server, target):
    reports = []
    fetch(server, target, progress=lambda *report: reports.append(report))
    assert target.read_bytes() == CONTENT
    assert not part_of(target).exists()
    assert reports[-1] == ("Downloading data.tar.gz", len(CONTENT), len(CONTENT))
    assert server.ranges == [None]


def test_download_goes_on_where_it_stopped(server, target):
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT[:400_000])
    reports = []
    fetch(server, target, progress=lambda *report: reports.append(report))
    assert target.read_bytes() == CONTENT
    assert server.ranges == ["bytes=400000-"]
    assert reports[0][1] > 400_000
    assert reports[-1][1:] == (len(CONTENT), len(CONTENT))


def test_download_starts_over_with_a_server_that_knows_no_ranges(server, target):
    server.knows_ranges = False
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT[:400_000])
    fetch(server, target)
    assert target.read_bytes() == CONTENT


def test_download_uses_a_part_that_was_complete(server, target):
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT)
    fetch(server, target)
    assert target.read_bytes() == CONTENT


def test_download_continues_after_broken_connections(server, target):
    server.breaks_after = [300_000, 1_000]
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=300000-", "bytes=301000-"]


def test_download_keeps_its_part_when_the_connection_breaks_too_often(server, target):
    server.breaks_after = [1_000] * 20
    with pytest.raises(DataError, match=r"ended too early.* after the 5,000 bytes received"):
        fetch(server, target)
    assert part_of(target).read_bytes() == CONTENT[:5_000]
    assert not target.exists()
    server.breaks_after = []
    fetch(server, target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("already_there", [b"", b"something else", b"x" * 2_000_000])
def test_download_with_a_wrong_checksum_is_removed(server, target, already_there):
    target.parent.mkdir()
    part_of(target).write_bytes(already_there)
    remote = RemoteFile(url=server.url, sha256="0" * 64)
    message = r"has sha256 [0-9a-f]{64}, expected 0{64}; it was removed"
    with pytest.raises(DataError, match=message):
        download(remote, target)
    assert list(target.parent.iterdir()) == []


def test_download_without_a_connection_says_where_to_put_the_file(target):
    remote = RemoteFile(url="http://127.0.0.1:1/data.tar.gz", sha256=SHA256)
    with pytest.raises(DataError, match=rf"cannot be downloaded.*or get it .* put it at {target}"):
        download(remote, target)
    assert list(target.parent.iterdir()) == []


def test_download_that_received_nothing_promises_no_continuation(server, target):
    server.breaks_after = [0] * 20
    with pytest.raises(DataError, match=r"ended too early.*\)\. Try again; or get it elsewhere"):
        fetch(server, target)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("status", [404, 503])
def test_download_gives_up_at_once_on_an_error_of_the_server(server, target, status):
    server.status = status
    with pytest.raises(DataError, match=f"cannot be downloaded .*{status}"):
        fetch(server, target)
    assert len(server.ranges) == 1


def test_download_into_an_impossible_folder_says_so(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"data.part: cannot be written"):
        fetch(server, tmp_path / "file" / "data")
    assert server.ranges == []


@pytest.mark.parametrize("etag", ['"1"', 'W/"0"', None])
@pytest.mark.parametrize("part", [CONTENT[::-1][:400_000], b"x" * 1_000_020], ids=["old", "long"])
@pytest.mark.parametrize("sha256", [SHA256, ""], ids=["checksum", "none"])
def test_download_starts_over_if_the_part_is_of_another_version(server, target, part, sha256, etag):
    target.parent.mkdir()
    part_of(target).write_bytes(part)
    part_of(target).with_name("data.tar.gz.part.version").write_text('1000010\n"0"')
    server.etag = etag
    download(RemoteFile(url=server.url, sha256=sha256), target)
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]


def test_download_without_a_checksum_continues_the_same_version(server, target):
    server.breaks_after = [300_000]
    download(RemoteFile(url=server.url), target)
    assert target.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=300000-"]


def test_download_whose_end_would_not_show_is_refused(server, target):
    server.says_length, server.breaks_after = False, [300_000]
    with pytest.raises(DataError, match="does not say how long the file is"):
        download(RemoteFile(url=server.url), target)
    assert not target.exists()


def test_download_says_again_and_again_that_it_waits_for_another(server, target):
    reports, held = [], threading.Event()
    target.parent.mkdir(exist_ok=True)

    deadline = time.monotonic() + 5

    def hold():
        with files.hold_lock(target.with_name(f"{target.name}.part.lock")):
            held.set()
            while len(reports) < 3 and time.monotonic() < deadline:
                time.sleep(0.001)

    with ThreadPoolExecutor(1) as thread:
        other = thread.submit(hold)
        held.wait()
        remote = RemoteFile(url=server.url, sha256=SHA256)
        download(remote, target, progress=lambda *report: reports.append(report))
        other.result()
    assert reports[:3] == [(f"Waiting for another download of {target.name}", 0, 0)] * 3
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("sha256", [SHA256, ""], ids=["checksum", "none"])
def test_concurrent_downloads_share_one_file(server, target, sha256):
    reports = []
    remote = RemoteFile(url=server.url, sha256=sha256)
    with ThreadPoolExecutor(5) as threads:
        waiting = [
            threads.submit(
                download, remote, target, progress=lambda *report: reports.append(report)
            )
            for _ in range(5)
        ]
    assert {future.result() for future in waiting} == {target}
    assert target.read_bytes() == CONTENT
    assert server.ranges == [None]
    assert list(target.parent.iterdir()) == [target]
