"""Bodies as they come: what arrived before a connection broke counts, and one that has ended is not waited for."""

import contextlib
import errno
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from pipeline import storage
from pipeline.storage import gathering, remote, stalls
from pipeline.storage.http_client import HttpClient

OBJECT = bytes(range(256)) * 200  # 51,200 bytes: more than the buffer that a header is read into
LONG = OBJECT * 20  # more than is gathered
RESET = struct.pack("ii", 1, 0)
WAIT = threading.Event().wait  # `pauses` takes the place of `time.sleep`


class Plain:
    """A server of one object that says what a test wants after the first `most` bytes of a body."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.connections = 0
        self.most = len(LONG)
        self.length = "{0}"
        self.piece, self.pause_s = len(LONG), 0.0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/o"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Takes no more connections."""
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection = self._listener.accept()[0]
                self.connections += 1
                threading.Thread(target=self._meet, args=(connection,), daemon=True).start()

    def _meet(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while request := connection.recv(65536).decode():
                first, last = map(int, request.lower().partition("range: bytes=")[2].split("\r\n")[0].split("-"))
                self.asked.append(first)
                body = LONG[first : last + 1]
                head = "HTTP/1.1 206 Partial Content\r\nETag: e\r\n"
                head += f"Content-Range: bytes {first}-{last}/{len(LONG)}\r\n"
                head += f"Content-Length: {self.length.format(len(body))}\r\n\r\n"
                told = head.encode()  # in one packet with the first piece
                for at in range(0, min(self.most, len(body)), self.piece):
                    connection.sendall(told + body[at : min(at + self.piece, self.most)])
                    told = b""
                    if self.pause_s:
                        WAIT(self.pause_s)
                if len(body) > self.most:
                    WAIT(0.1)  # the client is to have these bytes before it hears of the end
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    return


@pytest.fixture
def server() -> Iterator[Plain]:
    server = Plain()
    yield server
    server.close()


@pytest.mark.parametrize("most", [7_000, 20_000])  # with the header, and after it
def test_what_came_counts_before_a_reset(server: Plain, pauses: list[float], most: int) -> None:
    server.most = most
    assert storage.read_range(server.url, 0, 50_000) == OBJECT[:50_000]
    assert server.asked == list(range(0, 50_000, most))


def test_what_drips_is_gathered(server: Plain, pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    read, reads = stalls.WatchedAnswer.read_once, []

    def counted(self: stalls.WatchedAnswer, into: memoryview) -> int:
        reads.append(read(self, into))
        return reads[-1]

    monkeypatch.setattr(stalls.WatchedAnswer, "read_once", counted)
    server.piece, server.pause_s = 500, 0.001
    assert storage.read_range(server.url, 0, 50_000) == OBJECT[:50_000]
    assert len(reads) < 50, "a reader that takes what there is reads a hundred times"
    assert (server.asked, pauses) == ([0], [])


@pytest.mark.parametrize(("size", "piece"), [(50_000, 10_000), (1_000_000, 300_000)])
def test_a_sender_that_pauses_longer_than_anybody_gathers_is_waited_for(
    server: Plain, pauses: list[float], monkeypatch: pytest.MonkeyPatch, size: int, piece: int
) -> None:
    monkeypatch.setattr(gathering, "GATHERING_S", 0.001)
    server.piece, server.pause_s = piece, 0.05
    assert storage.read_range(server.url, 0, size) == LONG[:size]
    assert (server.asked, pauses) == ([0], [])


@pytest.mark.timeout(60)
@pytest.mark.parametrize("size", [50_000, 300_000, 700_000])
def test_no_end_is_waited_for(server: Plain, pauses: list[float], monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """However the answer falls into pieces: nobody waits for more than is still to come."""
    monkeypatch.setattr(gathering, "GATHERING_S", 300.0)  # five times the test's limit of time
    for server.piece in (7_001, 100_003, 299_993):
        server.pause_s = 0.0 if server.piece == 7_001 else 0.02
        assert storage.read_range(server.url, 0, size) == LONG[:size]
    assert (server.asked, pauses, server.connections) == ([0, 0, 0], [], 1)


def test_the_next_header_is_not_gathered(server: Plain, pauses: list[float]) -> None:
    for first, last in ((0, 50_000), (7, 9), (0, 51_000), (100, 101)):
        assert storage.read_range(server.url, first, last) == OBJECT[first:last]
    assert (server.asked, pauses, server.connections) == ([0, 7, 0, 100], [], 1)


@pytest.mark.parametrize("length", ["{0}", "{0}, {0}"])
def test_a_body_that_is_here_is_not_waited_for(server: Plain, pauses: list[float], length: str) -> None:
    """http.client takes a length that is said twice for none; urllib3 knows it."""
    server.length = length
    for first in (0, 100, 40_000):
        assert storage.read_range(server.url, first, first + 9_000) == OBJECT[first : first + 9_000]
    assert (server.asked, pauses) == ([0, 100, 40_000], [])
    assert server.connections == (1 if length == "{0}" else 3), "a connection is used again where its answer ended for all"


def test_whatever_the_system_calls_it_a_broken_connection_is_asked_again(
    server: Plain, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, faults = stalls.WatchedAnswer.read_once, [OSError(errno.ENOBUFS, "no buffers"), OSError(errno.EIO, "input/output")]

    def broken(self: stalls.WatchedAnswer, into: memoryview) -> int:
        if faults:
            raise faults.pop()
        return read(self, into)

    monkeypatch.setattr(stalls.WatchedAnswer, "read_once", broken)
    assert storage.read_range(server.url, 0, 9_000) == OBJECT[:9_000]
    assert len(pauses) == 2


def test_silence_after_much_was_gathered_is_a_timeout(
    server: Plain, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_HTTP", HttpClient(5, 2.0))
    server.piece, server.pause_s = 30_000, 10.0
    before = storage.counts().timeouts.get("read_range", 0)
    assert storage.read_range(server.url, 0, 50_000) == OBJECT[:50_000]
    assert server.asked == [0, 30_000]
    assert storage.counts().timeouts["read_range"] == before + 1
