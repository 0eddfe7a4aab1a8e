"""Byte ranges and whole objects over HTTP: from S3 through botocore, from web servers through urllib3, the client under it.

Both are one connection a request, read as it comes. In CPU time a gigabyte this costs what pyarrow's S3 client costs, and
unlike that client it can ask for one version of the object (If-Match), tells what it met, and leaves retries to this room.
"""

import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

from pipeline.storage.faults import StrangeAnswer, changed, http_status
from pipeline.storage.range_answers import check_range, refuse_encoded
from pipeline.storage.stalls import watched

READ_BYTES = 1024 * 1024  # at most so much with one call: a socket seldom has more
_POOLED_CONNECTIONS = 32
Headers = dict[str, str]


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
        asked = {"Range": f"bytes={start}-{end - 1}"}
        if version:
            asked["IfMatch"] = f'"{version}"'
        try:
            answer = self._get(fs, path, asked)
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

    def read(self, fs: Any, path: str) -> bytes:
        """The whole object, by one request.

        Args:
            fs: The s3fs file system.
            path: The object in it.
        """
        with closing(self._get(fs, path, {})["Body"]) as body:
            if body._raw_stream.length_remaining is None and not body._raw_stream.chunked:
                raise StrangeAnswer("got no Content-Length, expected one: a part would pass for the whole")
            return body.read()

    def _get(self, fs: Any, path: str, asked: dict[str, str]) -> dict[str, Any]:
        bucket, key, object_version = fs.split_path(path)
        if object_version:
            asked = {**asked, "VersionId": object_version}
        return self._client(fs).get_object(Bucket=bucket, Key=key, **asked, **fs.req_kw)

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
    config.pop("http_session_cls", None)  # aiobotocore's alone
    keys = {"aws_access_key_id": fs.key, "aws_secret_access_key": fs.secret, "aws_session_token": fs.token}
    if fs.anon:
        config["signature_version"], keys = UNSIGNED, {}
    options = {"use_ssl": fs.use_ssl, "endpoint_url": fs.endpoint_url, **keys}
    given = {name: value for name, value in options.items() if value is not None} | fs.client_kwargs
    client = botocore.session.Session(**fs.kwargs).create_client("s3", config=Config(**config), **given)
    pools = client._endpoint.http_session._pool_classes_by_scheme  # no public way in; proxies' pools share it
    pools.update(watched(pools))
    return client


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

    def open_range(self, url: str, start: int, end: int, version: str, version_of: Callable[[Headers], str]) -> WebRange:
        """Asks for a range of one version of an object.

        Args:
            url: The object.
            start: First byte.
            end: One past the last byte.
            version: The version that is wanted; empty for any.
            version_of: Tells the version from an answer's headers, whose names are in lower case.
        """
        raw, found = self._get(url, {"Range": f"bytes={start}-{end - 1}"}, (200, 206))
        body = WebRange(raw, version_of(found))
        try:
            if version and body.version != version:
                raise changed(url, body.version, version)  # before another length is looked at, which it explains
            refuse_encoded(url, found.get("content-encoding", ""))
            check_range(url, start, end, raw.status, found.get("content-range", ""), found.get("content-length", ""))
        except Exception:
            body.close()
            raise
        return body

    def read(self, url: str) -> bytes:
        """The whole object, by one request; decoded where the server encodes it although it was not asked to."""
        raw, found = self._get(url, {}, (200, 203))
        with closing(raw):
            is_torn = raw._original_response.headers.defects  # a line that is none: urllib3 takes the lines before it
            length = found.get("content-length", "a torn header" if is_torn else "")
            if length and raw.length_remaining is None and not raw.chunked:  # how much is missing would go unnoticed
                raise StrangeAnswer(f"got Content-Length {length!r}, expected a number of bytes")
            if found.get("content-encoding", "").strip().lower() not in ("gzip", "deflate"):
                refuse_encoded(url, found.get("content-encoding", ""))
            return raw.read(decode_content=True)

    def _get(self, url: str, headers: Headers, good: tuple[int, ...]) -> tuple[Any, Headers]:
        """The answer, whose body is still to come, and its headers; redirects are followed.

        Raises:
            HttpStatusError: The status is none of the `good` ones.
        """
        from urllib3 import Retry, make_headers
        from urllib3.util import parse_url

        user = parse_url(url).auth
        headers = {"Accept-Encoding": "identity"} | headers
        headers |= make_headers(basic_auth=user) if user else {}
        redirects = Retry(total=None, connect=0, read=0, status=0, other=0, redirect=10)
        raw = self._connections().request("GET", url, headers=headers, preload_content=False, retries=redirects)
        found = {name.lower(): value for name, value in raw.headers.items()}
        if raw.status not in good:
            raw.close()
            raise HttpStatusError(raw.status, raw.reason or "", found.get("retry-after", ""))
        return raw, found

    def _connections(self) -> Any:
        import urllib3

        with self._lock:
            if self._pool is None:
                connect_s, read_s = self._timeouts
                timeout = urllib3.Timeout(connect=connect_s, read=read_s)
                pool = urllib3.PoolManager(num_pools=64, maxsize=_POOLED_CONNECTIONS, timeout=timeout)
                pool.pool_classes_by_scheme = watched(pool.pool_classes_by_scheme)
                self._pool = pool
            return self._pool
