"""Bodies as they come: what arrived before a connection broke counts, and one that has ended is not waited for."""

import contextlib
import errno
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from pipeline import storage
from pipeline.storage import stalls

OBJECT = bytes(range(256)) * 200  # 51,200 bytes: more than the buffer that a header is read into
RESET = struct.pack("ii", 1, 0)


class Plain:
    """A server of one object that says what a test wants after the first `most` bytes of a body."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.connections = 0
        self.most = len(OBJECT)
        self.length = "{0}"
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
                body = OBJECT[first : last + 1]
                head = "HTTP/1.1 206 Partial Content\r\nETag: e\r\n"
                head += f"Content-Range: bytes {first}-{last}/{len(OBJECT)}\r\n"
                head += f"Content-Length: {self.length.format(len(body))}\r\n\r\n"
                connection.sendall(head.encode() + body[: self.most])
                if len(body) > self.most:
                    time.sleep(0.1)  # the client is to have these bytes before it hears of the end
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    return


@pytest.fixture
def server() -> Iterator[Plain]:
    server = Plain()
    yield server
    server.close()


def test_what_came_with_the_header_counts_before_a_reset(server: Plain, pauses: list[float]) -> None:
    server.most = 7_000
    assert storage.read_range(server.url, 0, 50_000) == OBJECT[:50_000]
    assert server.asked == list(range(0, 50_000, 7_000))


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
