"""Web servers and their faults, met by the real HTTP clients."""

import contextlib
import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline import storage
from pipeline.errors import PermanentStorageError, PermissionDenied


@pytest.fixture
def web() -> Iterator[tuple[str, list[str]]]:
    """A web server with one object, and the list of faults it is to show."""
    faults: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            fault = faults.pop(0) if faults else ""
            if fault.isdigit():
                self.send_error(int(fault))
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
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", '"v1"')
            self.end_headers()
            if self.command == "GET":
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
