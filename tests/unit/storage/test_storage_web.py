"""Web servers and their faults, met by the real HTTP clients."""

import base64
import contextlib
import gzip
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import urllib3

from pipeline import storage
from pipeline.errors import PermanentStorageError, PermissionDenied, TransientStorageError

sent: list[str] = []
"""What the server has begun to send the body of."""


@pytest.fixture
def web() -> Iterator[tuple[str, list[str]]]:
    """A web server with one object, and the list of faults it is to show."""
    faults: list[str] = []
    sent.clear()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            fault = faults.pop(0) if faults else ""
            if fault.isdigit():
                self.send_error(int(fault))
                return
            if fault.startswith("redirect"):
                _, status, *place = fault.split(" ")
                self.send_response(int(status))
                if place:
                    self.send_header("Location", place[0])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if fault == "early hints":
                self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n" * 2)
            if fault.startswith("user ") and self.headers.get("Authorization") != fault.removeprefix("user "):
                self.send_error(401)
                return
            if self.path != "/object":
                self.send_error(404)
                return
            data = b"0123456789" * 10
            ranged = self.headers.get("Range") if fault != "ignore range" else None
            if ranged:
                start, _, last = ranged.removeprefix("bytes=").partition("-")
                data = data[int(start) : int(last) + 1]
            self.send_response(206 if ranged else 200)
            if fault.startswith("encode "):
                data = gzip.compress(data)
                self.send_header("Content-Encoding", fault.removeprefix("encode "))
            if fault.startswith("range "):
                self.send_header("Content-Range", fault.removeprefix("range "))
            self.send_header("Content-Length", fault.removeprefix("length ") if "length" in fault else str(len(data)))
            self.send_header("ETag", '"v1"')
            self.end_headers()
            if self.command == "GET":
                sent.append(self.path)
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(data[:5] if fault == "cut body" else data)

        do_HEAD = do_GET  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", faults
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("fault", ["503", "500", "429", "507", "520", "522", "524", "529", "cut body"])
def test_http_faults_are_waited_out(web: tuple[str, list[str]], pauses: list[float], fault: str):
    url, faults = web
    faults.extend([fault, fault])
    assert storage.read_range(f"{url}/object", 10, 20) == b"0123456789"
    assert len(pauses) == (1 if fault == "cut body" else 2)  # half of the range comes before each cut


def test_http_objects(web: tuple[str, list[str]], pauses: list[float]):
    url, faults = web
    assert storage.read_bytes(f"{url}/object") == b"0123456789" * 10
    assert storage.info(f"{url}/object") == storage.ObjectInfo(url=f"{url}/object", size=100, version="v1")
    assert storage.exists(f"{url}/object")
    assert not storage.exists(f"{url}/other")
    assert not storage.is_folder(f"{url}/object")
    with pytest.raises(PermanentStorageError, match="no such object"):
        storage.read_bytes(f"{url}/other")
    faults.append("ignore range")
    assert storage.read_range(f"{url}/object", 10, 20) == b"0123456789"
    faults.extend(["ignore range"] * 3)
    with pytest.raises(PermanentStorageError, match="got 100 bytes, expected 10"):
        storage.read_range(f"{url}/object", 10, 20)
    with pytest.raises(PermanentStorageError, match="cannot write to 'http'"):
        storage.put_once(f"{url}/new", b"x")
    faults.extend(["503", "503"])  # HEAD and then GET: fsspec calls this FileNotFoundError
    assert storage.exists(f"{url}/object")
    faults.extend(["403", "403"])
    with pytest.raises(PermissionDenied, match="permission denied"):
        storage.exists(f"{url}/object")


@pytest.mark.parametrize("status", ["501", "505", "400", "416"])
def test_an_answer_that_will_not_change_is_asked_for_once(web: tuple[str, list[str]], pauses: list[float], status: str):
    url, faults = web
    faults.append(status)
    with pytest.raises(PermanentStorageError, match=f"HTTP status {status}"):
        storage.read_range(f"{url}/object", 10, 20)
    assert pauses == []


@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP"])
def test_compressed_bytes_are_never_taken_for_a_range(web: tuple[str, list[str]], pauses: list[float], encoding: str):
    url, faults = web
    faults.append(f"encode {encoding}")
    with pytest.raises(
        PermanentStorageError, match=f"got Content-Encoding {encoding}, expected the object's own bytes.*/object"
    ):
        storage.read_range(f"{url}/object", 0, 20)
    assert pauses == []


def test_answers_without_a_range_are_no_matter_while_the_read_moves_on(web: tuple[str, list[str]], pauses: list[float]):
    url, faults = web
    faults.extend(["ignore range", "ignore range", "cut body"] * 5)
    assert storage.read_range(f"{url}/object", 10, 50) == b"0123456789" * 4
    assert faults == []


def test_the_unit_of_a_range_has_no_case(web: tuple[str, list[str]], pauses: list[float]):
    url, faults = web
    for unit in ("bytes", "Bytes", "BYTES"):
        faults.append(f"range {unit} 10-19/100")
        assert storage.read_range(f"{url}/object", 10, 20) == b"0123456789"
    assert pauses == []


@pytest.mark.parametrize("answer", ["range bytes 10-19/15", "range bytes 11-20/100", "range bytes=10-19/100", "length 12, 13"])
def test_a_strange_answer_or_seven_are_asked_again(web: tuple[str, list[str]], pauses: list[float], answer: str):
    url, faults = web
    for times in (1, 7):
        faults.extend([answer] * times)
        assert storage.read_range(f"{url}/object", 10, 20) == b"0123456789"
    assert len(pauses) == 8


def test_a_total_that_stays_too_small_is_an_object_too_short(web: tuple[str, list[str]], pauses: list[float]):
    url, faults = web
    faults.extend(["range bytes 10-19/15"] * 8)
    with pytest.raises(
        PermanentStorageError, match=r"read_range: the object ends at byte 15, expected at least 20 bytes .*/object"
    ):
        storage.read_range(f"{url}/object", 10, 20)
    assert len(pauses) == 7


def test_another_version_is_named_before_another_length(web: tuple[str, list[str]], pauses: list[float]):
    url, faults = web
    faults.append("range bytes 10-19/15")
    with pytest.raises(PermanentStorageError, match="the object changed: got version v1, expected v0"):
        storage.read_range(f"{url}/object", 10, 20, version="v0")
    assert pauses == []


@pytest.mark.parametrize("length", ["12, 13", "some"])
def test_a_length_that_is_none_is_asked_for_again(web: tuple[str, list[str]], pauses: list[float], length: str):
    url, faults = web
    faults.extend([f"length {length}"] * 2)
    assert storage.read_bytes(f"{url}/object") == b"0123456789" * 10
    faults.extend([f"length {length}"] * 4)  # HEAD and then GET
    assert storage.info(f"{url}/object").size == 100
    assert len(pauses) == 4
    faults.extend([f"length {length}"] * 16)
    with pytest.raises(TransientStorageError, match="gave up after 8 attempts"):
        storage.read_bytes(f"{url}/object")


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br"])
def test_a_whole_object_that_was_compressed_on_its_way_is_unpacked_or_refused(web: tuple[str, list[str]], encoding: str):
    url, faults = web
    faults.append(f"encode {encoding}")
    if encoding == "br":
        with pytest.raises(PermanentStorageError, match="got Content-Encoding br"):
            storage.read_bytes(f"{url}/object")
    else:
        assert storage.read_bytes(f"{url}/object") == b"0123456789" * 10


OPERATIONS = {
    "info": storage.info,
    "exists": storage.exists,
    "read_bytes": storage.read_bytes,
    "read_range": lambda url: storage.read_range(url, 10, 20),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("redirect 302 /object", "got HTTP status 302 Found and more than 10 redirects, expected the object"),
        ("redirect 302", "got HTTP status 302 Found and no place that it leads to, expected the object"),
        ("redirect 300 /object", "got HTTP status 300 Multiple Choices and no place that it leads to, expected the object"),
    ],
)
def test_a_redirect_that_leads_nowhere_is_no_missing_object_and_no_empty_one(
    web: tuple[str, list[str]], pauses: list[float], operation: str, answer: str, problem: str
):
    url, faults = web
    faults.extend([answer] * 30)
    with pytest.raises(PermanentStorageError, match=problem):
        OPERATIONS[operation](f"{url}/object")
    assert pauses == []


@pytest.mark.parametrize("operation", OPERATIONS)
def test_words_before_the_answer_are_passed_over(web: tuple[str, list[str]], pauses: list[float], operation: str):
    url, faults = web
    expected = OPERATIONS[operation](f"{url}/object")
    faults.extend(["early hints"] * 2)
    assert OPERATIONS[operation](f"{url}/object") == expected
    assert pauses == []


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_password_in_the_url_is_sent_as_it_was_meant(web: tuple[str, list[str]], operation: str):
    url, faults = web
    faults.extend([f"user Basic {base64.b64encode('me:p@ss/€'.encode()).decode()}"] * 2)
    assert OPERATIONS[operation](f"{url.replace('//', '//me:p%40ss%2F%E2%82%AC@')}/object")


def test_a_look_that_is_sent_elsewhere_does_not_read_the_object(web: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch):
    url, faults = web
    read: list[int] = []
    fresh = urllib3.HTTPResponse._raw_read

    def counted(self: urllib3.HTTPResponse, amt: int | None = None, **rest: bool) -> bytes:
        data = fresh(self, amt, **rest)
        read.append(len(data))
        return data

    monkeypatch.setattr(urllib3.HTTPResponse, "_raw_read", counted)
    faults.append("redirect 303 /object")  # to which HEAD becomes GET
    assert storage.info(f"{url}/object").size == 100
    assert [size for size in read if size] == []
    until = time.monotonic() + 60
    while not sent and time.monotonic() < until:
        time.sleep(0.01)
    assert sent == ["/object"]  # what was asked for in the end was all of it


def test_a_server_without_head_or_with_lengths_said_twice_is_looked_at_all_the_same(web: tuple[str, list[str]]):
    url, faults = web
    for answers in (["405"], ["length 100, 100"], ["length "], ["encode gzip"]):
        faults.extend(answers)
        assert storage.info(f"{url}/object").size == 100
