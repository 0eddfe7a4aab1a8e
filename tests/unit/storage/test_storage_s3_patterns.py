"""Ranges from S3 by requests after the pattern of botocore's: the same requests, the same errors, and one of botocore's own."""

from collections import Counter

import fsspec
import pytest
from fsspec import config
from s3_double import S3Double

from pipeline import storage
from pipeline.errors import PermanentStorageError, PermissionDenied

KEYS = ["plain", "a b+c", "ä/ö€", "100%25", "x?y#z&=", "~tilde/(1)!*'", "//two//slashes", "a/../b", "semi;colon:@,$"]
DATA = bytes(range(256))


@pytest.fixture
def asked(s3: S3Double) -> S3Double:
    """A server with an object that was read, so that botocore made the first request."""
    for key in KEYS:
        s3.objects[f"/bucket/{key}"] = key.encode() + DATA
    s3.objects["/bucket/o"] = DATA
    assert storage.read_range("s3://bucket/o", 1, 3) == DATA[1:3]
    s3.requests.clear()
    s3.botocores = 0
    return s3


@pytest.mark.parametrize("key", KEYS)
def test_any_key_is_asked_for_as_botocore_asks(asked: S3Double, key: str):
    url, content = f"s3://bucket/{key}", key.encode() + DATA
    assert storage.read_range(url, 2, 20) == content[2:20]
    assert asked.botocores == 0, "the first request is a pattern for the next, whatever its key"
    assert storage.read_bytes(url) == content  # by botocore
    assert len(asked.requests) == 2
    assert len(set(asked.requests)) == 1


def test_one_version_is_asked_for(asked: S3Double):
    version = storage.info("s3://bucket/o").version
    assert storage.read_range("s3://bucket/o", 0, 9, version=version) == DATA[:9]
    asked.objects["/bucket/o"] = DATA[::-1]
    with pytest.raises(PermanentStorageError, match=f"the object changed: got version unknown, expected {version}"):
        storage.read_range("s3://bucket/o", 0, 9, version=version)


def test_what_is_not_there_is_told_as_botocore_tells_it(asked: S3Double):
    with pytest.raises(PermanentStorageError, match=r"read_range: no such object \(s3://bucket/none\)"):
        storage.read_range("s3://bucket/none", 0, 9)
    asked.faults.append("404 NoSuchBucket")
    with pytest.raises(PermanentStorageError, match=r"read_range: no such bucket \(s3://bucket/o\)"):
        storage.read_range("s3://bucket/o", 0, 9)
    assert len(asked.requests) == 2, "the answer is read by botocore, not asked for again"


@pytest.mark.parametrize("status", ["503 SlowDown", "500 InternalError", "hang up"])
def test_a_fault_costs_one_more_request(asked: S3Double, pauses: list[float], status: str):
    throttles = Counter(storage.counts().throttles)["read_range"]
    asked.faults.append(status)
    assert storage.read_range("s3://bucket/o", 0, 9) == DATA[:9]
    assert len(asked.requests) == 2
    assert len(pauses) == 1
    assert Counter(storage.counts().throttles)["read_range"] - throttles == (status == "503 SlowDown")


@pytest.mark.parametrize("status", ["400 ExpiredToken", "403 SignatureDoesNotMatch"])
def test_a_request_that_may_be_signed_wrongly_is_made_by_botocore(asked: S3Double, pauses: list[float], status: str):
    asked.faults.append(status)
    assert storage.read_range("s3://bucket/o", 0, 9) == DATA[:9]
    assert (len(asked.requests), asked.botocores, pauses) == (2, 1, [])
    assert storage.read_range("s3://bucket/o", 4, 9) == DATA[4:9]
    assert asked.botocores == 1, "which is the new pattern"


@pytest.mark.parametrize("status", [301, 307])
def test_a_bucket_is_followed_to_another_region(asked: S3Double, status: int):
    url = f"s3://moved-{status}/o"  # a bucket of its own: clients remember where one is
    asked.objects[url.removeprefix("s3:/")] = DATA
    assert storage.read_range(url, 2, 9) == DATA[2:9]
    asked.moved = (status, "eu-central-1")
    assert storage.read_range(url, 0, 9) == DATA[:9]
    asked.signed_for.clear()
    asked.botocores = 0
    assert storage.read_range(url, 1, 9) == DATA[1:9]
    assert (asked.signed_for, asked.botocores) == ({"eu-central-1"}, 0)


def test_forbidden_is_told(asked: S3Double):
    asked.faults.extend(["403 AccessDenied", "403 AccessDenied"])
    with pytest.raises(PermissionDenied, match="AccessDenied"):
        storage.read_range("s3://bucket/o", 0, 9)


def test_who_signs_nothing_is_asked_without_a_signature(asked: S3Double, monkeypatch: pytest.MonkeyPatch):
    assert asked.signed_for == {"us-east-1"}
    monkeypatch.setitem(config.conf, "s3", {"anon": True})
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    asked.signed_for.clear()
    assert [storage.read_range("s3://bucket/o", at, 9) for at in (0, 1)] == [DATA[:9], DATA[1:9]]
    assert (asked.botocores, asked.signed_for) == (1, {""})
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_what_a_user_asks_of_every_request_is_left_to_botocore(asked: S3Double, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(config.conf, "s3", {"requester_pays": True})
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    assert [storage.read_range("s3://bucket/o", at, 9) for at in (0, 1)] == [DATA[:9], DATA[1:9]]
    assert asked.botocores == 2
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_the_server_of_a_bucket_is_told(asked: S3Double):
    assert storage.server_of("s3://bucket/o") == asked.url
    assert storage.server_of("memory://bucket/o") == storage.server_of("/tmp/o") == ""
