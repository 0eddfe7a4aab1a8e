"""A server that sends a byte now and then, for ever: wherever in an answer it does so, it is given up and asked again."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import fsspec
import pytest

from pipeline import storage
from pipeline.errors import TransientStorageError
from pipeline.storage import http_client, ranges, remote, retry, stalls, web_ranges

OBJECT = b"0123456789" * 200
LISTING = b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>o</Key><Size>2000</Size><ETag>e</ETag></Contents>"
LISTING += b" " * 300 + b"</ListBucketResult>"  # drips for longer than a right client may take
LIMIT_S = 1.0


class Dripper:
    """A server of one object that meets as many requests as `drips` says with a drip in one part of the answer."""

    def __init__(self) -> None:
        self.drips, self.part = 0, ""
        self.requests: list[str] = []
        self.left_by_client = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Takes no more connections."""
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                threading.Thread(target=self._meet, args=(self._listener.accept()[0],), daemon=True).start()

    def _meet(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            request = connection.recv(65536).decode()
            self.requests.append(request.partition("\r\n")[0])
            head, body = self._answer(request)
            if self.drips:
                self.drips -= 1
                if self.part == "header":
                    self._drip(connection, b"HTTP/1.1 200 OK\r\nX-Drip: ")
                elif self.part == "redirect":
                    self._drip(connection, b"HTTP/1.1 302 Found\r\nLocation: /bucket/o\r\nContent-Length: 1000\r\n\r\n")
                else:
                    self._drip(connection, head + body[:10], body[10:])
            else:
                connection.sendall(head + body)

    def _drip(self, connection: socket.socket, begin: bytes, rest: bytes = b"x" * 400) -> None:
        connection.sendall(begin)
        try:
            for at in range(len(rest)):
                connection.sendall(rest[at : at + 1])
                time.sleep(0.05)
        except OSError:
            self.left_by_client += 1

    def _answer(self, request: str) -> tuple[bytes, bytes]:
        line, _, rest = request.partition("\r\n")
        status, body, more = "200 OK", OBJECT, 'ETag: "e"\r\nLast-Modified: Wed, 01 Jan 2025 00:00:00 GMT\r\n'
        if "list-type" in line:
            body = LISTING
        if "range: bytes=" in rest.lower():
            start, _, last = rest.lower().partition("range: bytes=")[2].partition("\r\n")[0].partition("-")
            body = OBJECT[int(start) : int(last) + 1]
            status, more = "206 Partial Content", f"{more}Content-Range: bytes {start}-{last}/{len(OBJECT)}\r\n"
        head = f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        return head.encode(), b"" if line.startswith("HEAD") else body


@pytest.fixture
def dripper(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dripper]:
    """The server, which s3:// URLs reach, too, and limits so short that a drip is given up soon."""
    server = Dripper()
    for name, value in {"ENDPOINT_URL": server.url, "ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(stalls, "STALL_S", LIMIT_S)
    monkeypatch.setattr(remote, "RANGE_TIMEOUT_S", LIMIT_S)
    monkeypatch.setattr(remote, "_HTTP", http_client.HttpClient(5.0, 5.0))
    monkeypatch.setattr(remote, "_S3", web_ranges.S3Client(5.0, 5.0))
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    yield server
    server.close()
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def wait_until_left(dripper: Dripper, times: int) -> None:
    """Until the server has noticed that the client hung up, which it does at its next bytes."""
    ends_at = time.monotonic() + 30
    while dripper.left_by_client < times and time.monotonic() < ends_at:
        time.sleep(0.02)
    assert dripper.left_by_client == times


READS = {
    "read_range": lambda url: storage.read_range(url, 100, 600) == OBJECT[100:600],
    "read_bytes": lambda url: storage.read_bytes(url) == OBJECT,
    "info": lambda url: (storage.info(url).size, storage.info(url).version) == (len(OBJECT), "e"),
    "exists": storage.exists,
    "list_objects": lambda url: [found.size for found in storage.list_objects(url.rpartition("/")[0])] == [len(OBJECT)],
}


@pytest.mark.parametrize("client", ["s3", "http"])
@pytest.mark.parametrize(
    ("operation", "part"),
    [
        ("read_range", "header"),
        ("read_range", "body"),
        ("read_bytes", "header"),
        ("read_bytes", "body"),
        ("info", "header"),
        ("exists", "header"),
        ("list_objects", "header"),
        ("list_objects", "body"),
    ],
)
def test_a_drip_is_given_up_and_the_store_asked_again(dripper: Dripper, client: str, operation: str, part: str):
    if client == "http" and operation == "list_objects":
        pytest.skip("web servers have no listing")
    url = "s3://bucket/o" if client == "s3" else f"{dripper.url}/bucket/o"
    dripper.part, dripper.drips = part, 2
    before = storage.counts().timeouts.get(operation, 0)
    started = time.monotonic()
    assert READS[operation](url)
    assert time.monotonic() - started < 15
    wait_until_left(dripper, 2)
    # A web server is asked by HEAD and then by GET before an operation counts as one that got no answer.
    tries = 1 if client == "http" and operation in ("info", "exists") else 2
    assert storage.counts().timeouts[operation] - before == tries


def test_the_body_of_a_redirect_that_drips_is_left_for_where_it_leads(dripper: Dripper):
    dripper.part, dripper.drips = "redirect", 2
    started = time.monotonic()
    assert storage.read_range(f"{dripper.url}/elsewhere", 100, 300) == OBJECT[100:300]
    assert time.monotonic() - started < 15
    assert dripper.requests == ["GET /elsewhere HTTP/1.1", "GET /bucket/o HTTP/1.1", "GET /bucket/o HTTP/1.1"]
    wait_until_left(dripper, 2)


def test_a_hanging_attempt_leaves_time_for_others(dripper: Dripper, monkeypatch: pytest.MonkeyPatch):
    """Two of them take longer than the policy's whole time."""
    monkeypatch.setattr(
        ranges.fetch_range, "__defaults__", ("", retry.RetryPolicy(first_delay_s=0.01, longest_delay_s=0.02, total_s=0.3))
    )
    url = f"{dripper.url}/bucket/o"
    dripper.part, dripper.drips = "header", 2
    assert storage.read_range(url, 100, 300) == OBJECT[100:300]
    dripper.drips = 10
    with pytest.raises(TransientStorageError, match=r"gave up after 3 attempts in .*/o\)"):
        storage.read_range(url, 100, 300)


def test_a_slow_sender_that_keeps_to_the_rule_is_not_given_up(dripper: Dripper, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stalls, "STALL_BYTES", 4)
    dripper.part, dripper.drips = "body", 1
    before = storage.counts().retries.get("read_range", 0)
    assert storage.read_range(f"{dripper.url}/bucket/o", 0, 40) == OBJECT[:40]
    assert storage.counts().retries.get("read_range", 0) == before
