"""Byte ranges over HTTP: from S3 through botocore, from web servers through urllib3, the client under it.

Both are one connection a range, read as it comes. In CPU time a gigabyte this costs what pyarrow's S3 client costs, and unlike
that client it can ask for one version of the object (If-Match), tells what it met, and leaves retries to this room.
"""

import re
import threading
from typing import Any

from pipeline.errors import PermanentStorageError
from pipeline.storage.faults import StrangeAnswer, changed, http_status, short_range
from pipeline.storage.ranges import NoRange

READ_BYTES = 1024 * 1024  # at most so much with one call: a socket seldom has more
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_POOLED_CONNECTIONS = 32


class HttpStatusError(OSError):
    """A web server's answer that is none.

    Args:
        status: HTTP status.
        reason: The server's words.
        retry_after: Its Retry-After header.
    """

    def __init__(self, status: int, reason: str, retry_after: str = "") -> None:
        super().__init__(status, reason, retry_after)
        self.status, self.reason, self.retry_after = status, reason, retry_after

    def __str__(self) -> str:
        return f"HTTP status {self.status} {self.reason}"


class WebRange:
    """A range that a server is sending.

    Args:
        raw: urllib3's response.
        version: Version of the object, from its headers.
    """

    def __init__(self, raw: Any, version: str) -> None:
        self._raw = raw
        self.version = version

    def readinto(self, into: memoryview) -> int:
        """Puts the next bytes at the start of `into`; one call of the socket, so that a slow sender is noticed."""
        data = self._raw.read1(min(len(into), READ_BYTES), decode_content=False) or b""
        into[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Gives a connection that has sent all back to the pool, and closes any other."""
        if self._raw.length_remaining == 0:
            self._raw.release_conn()
        else:
            self._raw.close()


def check_range(url: str, start: int, end: int, status: int, content_range: str, length: str) -> None:
    """Refuses an answer that is not the range asked for.

    Args:
        url: The object.
        start: First byte asked for.
        end: One past the last byte asked for.
        status: 200 or 206.
        content_range: The answer's Content-Range.
        length: The answer's Content-Length.

    Raises:
        PermanentStorageError: The object is too short.
        NoRange: The answer is no range.
        StrangeAnswer: The answer is to another question; asking again may help.
    """
    if status != 206:
        if start == 0 and not (length.isdigit() and int(length) < end):
            return  # the whole object begins with what is wanted
        raise NoRange(f"got {length or 'unknown'} bytes, expected {end - start} of [{start}, {end}): no range was sent")
    if not content_range:
        return  # against the standard, but seen; a body that is too short is noticed anyhow
    found = _CONTENT_RANGE.fullmatch(content_range.strip())
    if found is None or int(found[1]) != start:
        raise StrangeAnswer(f"got Content-Range {content_range!r}, expected bytes {start}-{end - 1}")
    if found[3] != "*" and int(found[3]) < end:
        raise short_range(url, int(found[3]), end)


def _refuse_encoded(url: str, encoding: str) -> None:
    """A range of compressed bytes is no range of the object; on S3 the same header only tells of what was stored."""
    if encoding.strip().lower() not in ("", "identity"):
        raise PermanentStorageError(
            f"read_range: got Content-Encoding {encoding}, expected the object's own bytes, which a server sends uncompressed",
            url,
        )


class S3Client:
    """botocore's client with the settings of an s3fs file system, made at the first use in a process.

    Args:
        connect_timeout_s: For a connection to be made.
        read_timeout_s: For the next bytes to come.
    """

    def __init__(self, connect_timeout_s: float, read_timeout_s: float) -> None:
        self._timeouts = {"connect_timeout": connect_timeout_s, "read_timeout": read_timeout_s}
        self._lock = threading.Lock()
        self._clients: dict[int, tuple[Any, Any]] = {}

    def open_range(self, fs: Any, path: str, url: str, start: int, end: int, version: str) -> WebRange:
        """Asks for a range of one version of an object.

        Args:
            fs: The s3fs file system.
            path: The object in it.
            url: The same, for messages.
            start: First byte.
            end: One past the last byte.
            version: ETag without quotes; empty for any.
        """
        bucket, key, object_version = fs.split_path(path)
        asked: dict[str, Any] = {"Bucket": bucket, "Key": key, "Range": f"bytes={start}-{end - 1}"}
        if version:
            asked["IfMatch"] = f'"{version}"'
        if object_version:
            asked["VersionId"] = object_version
        try:
            answer = self._client(fs).get_object(**asked, **fs.req_kw)
        except Exception as error:
            if http_status(error) == 412:
                raise changed(url, "", version) from error
            raise
        raw = answer["Body"]._raw_stream  # its own reads block until all they ask for is there
        body = WebRange(raw, answer.get("ETag", "").strip('"'))
        try:
            status = answer["ResponseMetadata"]["HTTPStatusCode"]
            check_range(url, start, end, status, answer.get("ContentRange", ""), str(answer.get("ContentLength", "")))
        except Exception:
            body.close()
            raise
        return body

    def _client(self, fs: Any) -> Any:
        with self._lock:
            if id(fs) not in self._clients:
                # With the file system, so that its id is not given to another one.
                self._clients[id(fs)] = fs, _make_client(fs, self._timeouts)
            return self._clients[id(fs)][1]


def _make_client(fs: Any, timeouts: dict[str, float]) -> Any:
    import botocore.session
    from botocore import UNSIGNED
    from botocore.config import Config

    config = {**fs.config_kwargs, **timeouts, "max_pool_connections": _POOLED_CONNECTIONS}
    keys = {"aws_access_key_id": fs.key, "aws_secret_access_key": fs.secret, "aws_session_token": fs.token}
    if fs.anon:
        config["signature_version"], keys = UNSIGNED, {}
    options = {"use_ssl": fs.use_ssl, "endpoint_url": fs.endpoint_url, **keys}
    given = {name: value for name, value in options.items() if value is not None} | fs.client_kwargs
    return botocore.session.Session(**fs.kwargs).create_client("s3", config=Config(**config), **given)


class HttpClient:
    """urllib3's connection pool, made at the first use in a process.

    Args:
        connect_timeout_s: For a connection to be made.
        read_timeout_s: For the next bytes to come.
    """

    def __init__(self, connect_timeout_s: float, read_timeout_s: float) -> None:
        self._timeouts = connect_timeout_s, read_timeout_s
        self._lock = threading.Lock()
        self._pool: Any = None

    def open_range(self, url: str, start: int, end: int) -> tuple[WebRange, dict[str, str]]:
        """Asks for a range of an object; returns it with the answer's headers, whose names are in lower case."""
        from urllib3 import Retry, make_headers
        from urllib3.util import parse_url

        user = parse_url(url).auth
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        headers |= make_headers(basic_auth=user) if user else {}
        redirects = Retry(total=None, connect=0, read=0, status=0, other=0, redirect=10)
        raw = self._connections().request("GET", url, headers=headers, preload_content=False, retries=redirects)
        found = {name.lower(): value for name, value in raw.headers.items()}
        body = WebRange(raw, "")
        try:
            if raw.status not in (200, 206):
                raise HttpStatusError(raw.status, raw.reason or "", found.get("retry-after", ""))
            _refuse_encoded(url, found.get("content-encoding", ""))
            check_range(url, start, end, raw.status, found.get("content-range", ""), found.get("content-length", ""))
        except Exception:
            body.close()
            raise
        return body, found

    def _connections(self) -> Any:
        import urllib3

        with self._lock:
            if self._pool is None:
                connect_s, read_s = self._timeouts
                timeout = urllib3.Timeout(connect=connect_s, read=read_s)
                self._pool = urllib3.PoolManager(num_pools=64, maxsize=_POOLED_CONNECTIONS, timeout=timeout)
            return self._pool
