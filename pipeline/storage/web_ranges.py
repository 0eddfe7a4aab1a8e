"""Byte ranges and whole objects from S3, through botocore, and the range that any server sends.

One connection a request, read as it comes. In CPU time a gigabyte this costs what pyarrow's S3 client costs, and unlike that
client it can ask for one version of the object (If-Match), tells what it met, and leaves retries to this room.
"""

import threading
from contextlib import closing
from typing import Any, NamedTuple

from pipeline.storage.faults import StrangeAnswer, changed, http_status, is_transient
from pipeline.storage.range_answers import check_range
from pipeline.storage.s3_patterns import PatternedGets
from pipeline.storage.stalls import WatchedAnswer, watched

POOLED_CONNECTIONS = 32
"""That are kept open to one server."""


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
        """Puts what comes within a moment at the start of `into`, so that a slow sender is noticed."""
        answer: WatchedAnswer = self._raw._fp  # urllib3 would copy every byte once more
        try:
            got = answer.read_once(into)
        except OSError as error:
            if is_transient(error):
                raise
            raise ConnectionError(f"the connection broke: {error}") from error  # whatever the system calls it
        if self._raw.length_remaining is not None:
            self._raw.length_remaining -= got
            if not self._raw.length_remaining:
                answer.close()  # urllib3 may know a length that http.client does not
        return got

    def close(self) -> None:
        """Lets go of the connection."""
        let_go(self._raw)


def let_go(raw: Any) -> None:
    """Gives a connection that has sent all back to the pool, and closes any other.

    Args:
        raw: urllib3's response.
    """
    if raw.length_remaining == 0:
        raw.read(decode_content=False)  # nothing, and says so to who keeps the connection
        raw.release_conn()
    else:
        raw.close()


class S3Client:
    """botocore's client with the settings of an s3fs file system, made at the first use in a process.

    Args:
        connect_timeout_s: For a connection to be made.
        read_timeout_s: For the next bytes to come.
    """

    def __init__(self, connect_timeout_s: float, read_timeout_s: float) -> None:
        self._timeouts = {"connect_timeout": connect_timeout_s, "read_timeout": read_timeout_s}
        self._lock = threading.Lock()
        self._stores: dict[int, _Store] = {}

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
        headers = {"Range": f"bytes={start}-{end - 1}"}
        if version:
            headers["If-Match"] = f'"{version}"'
        try:
            raw = self._range(fs, path, headers)
        except Exception as error:
            if http_status(error) == 412:
                raise changed(url, "", version) from error
            raise
        body = WebRange(raw, raw.headers.get("ETag", "").strip('"'))
        try:
            length = raw.headers.get("Content-Length", "")
            check_range(url, start, end, raw.status, raw.headers.get("Content-Range", ""), length)
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

    def address(self, fs: Any) -> str:
        """Where requests go.

        Args:
            fs: The s3fs file system.
        """
        return self._store(fs).client.meta.endpoint_url

    def _range(self, fs: Any, path: str, headers: dict[str, str]) -> Any:
        """urllib3's response."""
        bucket, key, object_version = fs.split_path(path)
        if not object_version and not fs.req_kw:
            return self._store(fs).gets.get(bucket, key, headers)
        asked = {name.replace("-", ""): value for name, value in headers.items()}
        return self._get(fs, path, asked)["Body"]._raw_stream

    def _get(self, fs: Any, path: str, asked: dict[str, str]) -> dict[str, Any]:
        bucket, key, object_version = fs.split_path(path)
        if object_version:
            asked = {**asked, "VersionId": object_version}
        return self._store(fs).client.get_object(Bucket=bucket, Key=key, **asked, **fs.req_kw)

    def _store(self, fs: Any) -> "_Store":
        with self._lock:
            if id(fs) not in self._stores:
                self._stores[id(fs)] = _make_store(fs, self._timeouts)
            return self._stores[id(fs)]


class _Store(NamedTuple):
    fs: Any
    """Kept so that its id is not given to another one."""
    client: Any
    """botocore's."""
    gets: PatternedGets
    """Through the client."""


def _make_store(fs: Any, timeouts: dict[str, float]) -> _Store:
    import botocore.session
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.credentials import Credentials

    config = {**fs.config_kwargs, **timeouts, "max_pool_connections": POOLED_CONNECTIONS}
    config.pop("http_session_cls", None)  # aiobotocore's alone
    keys = {"aws_access_key_id": fs.key, "aws_secret_access_key": fs.secret, "aws_session_token": fs.token}
    if fs.anon:
        config["signature_version"], keys = UNSIGNED, {}
    options = {"use_ssl": fs.use_ssl, "endpoint_url": fs.endpoint_url, **keys}
    given = {name: value for name, value in options.items() if value is not None} | fs.client_kwargs
    session = botocore.session.Session(**fs.kwargs)
    client = session.create_client("s3", config=Config(**config), **given)
    pools = client._endpoint.http_session._pool_classes_by_scheme  # no public way in; proxies' pools share it
    pools.update(watched(pools))
    keys = [given.get(name) for name in ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")]
    credentials = None if fs.anon else Credentials(*keys) if keys[0] else session.get_credentials()
    return _Store(fs, client, PatternedGets(client, credentials))
