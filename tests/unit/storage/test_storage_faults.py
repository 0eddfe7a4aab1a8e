"""Network faults, met by the real S3 client, and what each is called."""

import errno
import http.client
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import botocore.exceptions
import pytest
import urllib3.exceptions
from aiohttp.client_reqrep import ConnectionKey
from s3_double import S3Double

from pipeline import storage
from pipeline.errors import PermanentStorageError, PermissionDenied, TransientStorageError
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
    assert len(pauses) >= 3  # a store that throttles is also waited for before the next first attempt


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
    s3.faults.extend(["503 SlowDown"] * 1000)
    with pytest.raises(
        TransientStorageError, match=r"SlowDown.*gave up after \d+ attempts in 1[12]\d\.. s.*s3://bucket/object"
    ):
        storage.read_bytes("s3://bucket/object")
    assert len(s3.requests) == len(pauses) + 1


def test_an_unreachable_store_never_looks_like_a_missing_object(pauses: list[float]):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # and kept, so that nobody else can serve there
        port = deaf.getsockname()[1]
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


def client_error(status: int, code: str) -> botocore.exceptions.ClientError:
    response = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return botocore.exceptions.ClientError(response, "GetObject")  # type: ignore[arg-type]


def raised_from(outer: Exception, cause: Exception) -> Exception:
    outer.__cause__ = cause
    return outer


UNTRUSTED = ssl.SSLCertVerificationError(1, "certificate verify failed")
NOBODY = ConnectionKey("x", 443, is_ssl=True, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None)


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
        (client_error(403, "AccessDenied"), PermissionDenied),
        (client_error(507, "?"), TransientStorageError),
        (raised_from(FileNotFoundError(), client_error(503, "SlowDown")), TransientStorageError),
        (raised_from(FileNotFoundError(), client_error(404, "NoSuchKey")), PermanentStorageError),
        (raised_from(OSError(errno.EIO, "?"), client_error(504, "GatewayTimeout")), TransientStorageError),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="http://x"), TransientStorageError),
        (botocore.exceptions.ReadTimeoutError(endpoint_url="http://x"), TransientStorageError),
        (
            botocore.exceptions.SSLError(endpoint_url="x", error=urllib3.exceptions.SSLError(ssl.SSLEOFError())),
            TransientStorageError,
        ),
        (botocore.exceptions.SSLError(endpoint_url="x", error=urllib3.exceptions.SSLError(UNTRUSTED)), PermanentStorageError),
        (urllib3.exceptions.SSLError(UNTRUSTED), PermanentStorageError),
        (aiohttp.ClientConnectorCertificateError(NOBODY, UNTRUSTED), PermanentStorageError),
        (botocore.exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2), TransientStorageError),
        (botocore.exceptions.NoCredentialsError(), PermanentStorageError),
        (aiohttp.ServerDisconnectedError(), TransientStorageError),
        (aiohttp.ClientPayloadError(), TransientStorageError),
        (aiohttp.InvalidURL("x"), PermanentStorageError),
        (FileNotFoundError(), PermanentStorageError),
        (PermissionError(), PermissionDenied),
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
