"""Network faults, met by the real S3 and HTTP clients."""

import contextlib
import errno
import http.client
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import aiohttp
import botocore.exceptions
import pytest
from s3_double import S3Double

from pipeline import storage
from pipeline.errors import ConfigError, PermanentStorageError, TransientStorageError
from pipeline.storage.faults import in_our_words
from pipeline.storage.retry import retrying

TRANSIENT = ["503 SlowDown", "500 InternalError", "429 TooManyRequests", "502 BadGateway"]


def counted(operation: str) -> int:
    return storage.counts().retries.get(operation, 0)


@pytest.mark.parametrize("fault", [*TRANSIENT, "cut body"])
def test_a_transient_fault_of_s3_is_waited_out_and_counted(s3: S3Double, pauses: list[float], fault: str):
    s3.objects["/bucket/object"] = b"x" * 1000
    before = counted("read_range"), counted("read_bytes")
    s3.faults.extend([fault, fault])
    assert storage.read_range("s3://bucket/object", 10, 20) == b"x" * 10
    s3.faults.extend([fault])
    assert storage.read_bytes("s3://bucket/object") == b"x" * 1000
    assert (counted("read_range"), counted("read_bytes")) == (before[0] + 2, before[1] + 1)
    assert len(s3.requests) == 5, "the client's own hidden retries are on"
    assert len(pauses) == 3


@pytest.mark.parametrize("fault", TRANSIENT)
def test_listing_existence_and_puts_are_repeated_too(s3: S3Double, pauses: list[float], fault: str):
    for number in range(7):
        s3.objects[f"/bucket/folder/{number}"] = b"x"
    before = sum(storage.counts().retries.values())
    s3.faults.append(fault)
    assert len(storage.list_objects("s3://bucket/folder")) == 7
    s3.faults.append(fault)
    assert storage.exists("s3://bucket/folder/1")
    s3.faults.append(fault)
    assert storage.put_once("s3://bucket/folder/new", b"new") is True
    s3.faults.append(fault)
    storage.put_replace("s3://bucket/folder/new", b"newer")
    assert s3.objects["/bucket/folder/new"] == b"newer"
    assert sum(storage.counts().retries.values()) == before + 4


def test_what_others_put_or_remove_is_seen_at_once(s3: S3Double):
    def look() -> list[str]:
        return [found.url for found in storage.list_objects("s3://bucket/folder")]

    s3.objects["/bucket/folder/a"] = b"x"
    assert look() == ["s3://bucket/folder/a"]
    assert storage.info("s3://bucket/folder/a").size == 1
    s3.objects["/bucket/folder/b"] = b"y"
    s3.objects["/bucket/folder/a"] = b"xx"
    assert look() == ["s3://bucket/folder/a", "s3://bucket/folder/b"]
    assert storage.glob("s3://bucket/folder/*") == look()
    assert storage.info("s3://bucket/folder/a").size == 2
    s3.objects.clear()
    assert look() == []
    assert not storage.exists("s3://bucket/folder/a")


def test_a_lost_connection_is_made_again(s3: S3Double, pauses: list[float]):
    s3.objects["/bucket/object"] = b"x" * 1000
    s3.faults.extend(["hang up"] * 2)
    assert storage.read_range("s3://bucket/object", 10, 20) == b"x" * 10
    assert len(pauses) == 2
    s3.faults.extend(["hang up"] * 2)  # aiohttp asks twice before it reports a lost connection
    assert storage.put_once("s3://bucket/new", b"new") is True
    assert len(pauses) == 3


def test_a_store_that_stays_down_is_given_up(s3: S3Double, pauses: list[float]):
    s3.faults.extend(["503 SlowDown"] * 100)
    with pytest.raises(TransientStorageError, match=r"SlowDown.*gave up after 8 attempts.*s3://bucket/object"):
        storage.read_bytes("s3://bucket/object")
    assert len(s3.requests) == 8
    assert len(pauses) == 7


def test_an_unreachable_store_never_looks_like_a_missing_object(pauses: list[float]):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for look in [storage.exists, storage.read_bytes, storage.info, storage.list_objects]:
        with pytest.raises(TransientStorageError, match="gave up"):
            look(f"http://127.0.0.1:{port}/object")


def test_forbidden_is_permanent_and_asked_once(s3: S3Double, pauses: list[float]):
    s3.faults.append("403 AccessDenied")
    with pytest.raises(PermanentStorageError, match=r"permission denied.*AccessDenied"):
        storage.read_bytes("s3://bucket/object")
    assert pauses == []
    assert len(s3.requests) == 1


def test_a_missing_bucket_is_not_called_a_missing_object(s3: S3Double):
    s3.faults.append("404 NoSuchBucket")
    with pytest.raises(PermanentStorageError, match=r"put_once: no such bucket \(s3://bucket/object\)"):
        storage.put_once("s3://bucket/object", b"x")


@pytest.mark.parametrize("names_condition", [True, False], ids=["like AWS", "like Ceph"])
def test_both_kinds_of_refusal_mean_taken(s3: S3Double, names_condition: bool):
    s3.refusal_names_condition = names_condition
    assert storage.put_once("s3://bucket/object", b"a") is True
    assert storage.put_once("s3://bucket/object", b"b") is False
    assert s3.objects["/bucket/object"] == b"a"
    assert sum(request.startswith("PUT") for request in s3.requests) == 2, "a put must be one request"


def test_a_bad_request_is_not_taken_for_a_taken_name(s3: S3Double):
    s3.faults.append("400 InvalidRequest")
    with pytest.raises(PermanentStorageError, match="InvalidRequest"):
        storage.put_once("s3://bucket/object", b"a")


def test_a_put_whose_answer_is_lost_is_there_once(s3: S3Double, pauses: list[float]):
    s3.faults.append("lose answer")
    assert storage.put_once("s3://bucket/object", b"a") is False  # as documented: the first attempt created it
    assert s3.objects == {"/bucket/object": b"a"}


def test_one_of_eight_threads_wins_on_s3_among_faults(s3: S3Double, pauses: list[float]):
    for number in range(5):
        s3.faults.extend(["503 SlowDown", "409 ConditionalRequestConflict"] * 2)
        with ThreadPoolExecutor(8) as pool:
            created = list(pool.map(lambda writer, n=number: storage.put_once(f"s3://bucket/{n}", bytes([writer])), range(8)))
        assert created.count(True) == 1
        assert s3.objects[f"/bucket/{number}"] == bytes([created.index(True)])


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


@pytest.mark.parametrize("fault", ["503", "500", "429", "cut body"])
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
    with pytest.raises(PermanentStorageError, match="permission denied"):
        storage.exists(f"{url}/object")


def client_error(status: int, code: str) -> botocore.exceptions.ClientError:
    response = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return botocore.exceptions.ClientError(response, "GetObject")  # type: ignore[arg-type]


def raised_from(outer: Exception, cause: Exception) -> Exception:
    outer.__cause__ = cause
    return outer


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionResetError(), TransientStorageError),
        (TimeoutError(), TransientStorageError),
        (http.client.IncompleteRead(b"", 10), TransientStorageError),
        (OSError(errno.EBUSY, "SlowDown"), TransientStorageError),
        (OSError(errno.EREMOTEIO, "InternalError"), TransientStorageError),
        (client_error(503, "SlowDown"), TransientStorageError),
        (client_error(409, "ConditionalRequestConflict"), TransientStorageError),
        (client_error(404, "NoSuchKey"), PermanentStorageError),
        (client_error(501, "NotImplemented"), PermanentStorageError),
        (raised_from(FileNotFoundError(), client_error(503, "SlowDown")), TransientStorageError),
        (raised_from(FileNotFoundError(), client_error(404, "NoSuchKey")), PermanentStorageError),
        (raised_from(OSError(errno.EIO, "?"), client_error(504, "GatewayTimeout")), TransientStorageError),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="http://x"), TransientStorageError),
        (botocore.exceptions.ReadTimeoutError(endpoint_url="http://x"), TransientStorageError),
        (botocore.exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2), TransientStorageError),
        (botocore.exceptions.NoCredentialsError(), PermanentStorageError),
        (aiohttp.ServerDisconnectedError(), TransientStorageError),
        (aiohttp.ClientPayloadError(), TransientStorageError),
        (aiohttp.InvalidURL("x"), PermanentStorageError),
        (FileNotFoundError(), PermanentStorageError),
        (PermissionError(), PermanentStorageError),
        (OSError(errno.ENOSPC, "No space left on device"), PermanentStorageError),
        (OSError(errno.EIO, "Input/output error"), PermanentStorageError),
    ],
)
def test_each_fault_is_classed_by_who_can_mend_it(error: Exception, expected: type[Exception]):
    ours = in_our_words(error, "s3://bucket/object", "read_bytes")
    assert type(ours) is expected
    assert "s3://bucket/object" in str(ours)
    assert "\n" not in str(ours)


def test_a_mistake_in_code_is_no_fault_of_a_store():
    assert in_our_words(KeyError("x"), "s3://bucket/object", "read_bytes") is None
    with pytest.raises(ZeroDivisionError):
        retrying("read_bytes", "x", lambda: 1 // 0)


def test_pauses_grow_are_jittered_and_bounded(pauses: list[float]):
    policy = storage.RetryPolicy(attempts=60, first_delay_s=1.0, longest_delay_s=8.0, total_s=1e9)

    def fail() -> None:
        raise ConnectionResetError

    with pytest.raises(TransientStorageError):
        retrying("read_bytes", "x", fail, policy)
    assert len(pauses) == 59
    assert all(pause <= min(8.0, 2.0**number) for number, pause in enumerate(pauses))
    assert max(pauses) > 4.0
    assert min(pauses[3:]) < 4.0
    assert len(set(pauses)) == 59


def test_the_total_time_is_bounded(pauses: list[float]):
    policy = storage.RetryPolicy(attempts=1000, first_delay_s=0.0, total_s=0.0)

    def fail() -> None:
        raise ConnectionResetError

    with pytest.raises(TransientStorageError, match="gave up after 1 attempts"):
        retrying("read_bytes", "x", fail, policy)


@pytest.mark.parametrize(("field", "value"), [("attempts", 0), ("first_delay_s", -1.0), ("total_s", -0.1)])
def test_a_policy_that_cannot_work_is_refused(field: str, value: float):
    with pytest.raises(ConfigError, match=f"RetryPolicy.{field}: got {value}"):
        storage.RetryPolicy(**{field: value})  # type: ignore[arg-type]
