"""Objects of web servers, through urllib3: a look, a range, the whole. All three ask for the same URL in the same way."""

import threading
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing
from typing import Any
from urllib.parse import unquote

from pipeline.errors import PermanentStorageError
from pipeline.storage.counts import count
from pipeline.storage.faults import StrangeAnswer, changed, is_throttle, is_timeout
from pipeline.storage.range_answers import check_range, refuse_encoded
from pipeline.storage.stalls import watched
from pipeline.storage.web_ranges import POOLED_CONNECTIONS, WebRange, let_go

_MOST_REDIRECTS = 10
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

    def look(self, url: str) -> tuple[int | None, Headers]:
        """Size of an object, None where its server does not tell, and the headers of the answer.

        By HEAD, or where that brings no size, by GET: links may be signed for GET alone, and some servers know no HEAD.

        Args:
            url: The object.
        """
        try:
            size, found = self._look(url, "HEAD")
            if size is not None:
                return size, found
        except Exception as error:  # whatever it is: if it is more than HEAD's own trouble, GET tells
            if is_throttle(error):
                raise  # and is not to be asked again at once
            if is_timeout(error):
                count("timeouts", "head")
        return self._look(url, "GET")

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
            _length(raw, found)  # refuses one that is none
            if found.get("content-encoding", "").strip().lower() not in ("gzip", "deflate"):
                refuse_encoded(url, found.get("content-encoding", ""))
            return raw.read(decode_content=True)

    def _look(self, url: str, method: str) -> tuple[int | None, Headers]:
        raw, found = self._get(url, {}, (200, 203), method)
        try:  # the body is not read: to a redirect by 303, HEAD becomes a GET of the whole object
            is_own = found.get("content-encoding", "").strip().lower() in ("", "identity")
            return _length(raw, found) if is_own else None, found
        finally:
            let_go(raw)

    def _get(self, url: str, headers: Headers, good: tuple[int, ...], method: str = "GET") -> tuple[Any, Headers]:
        """The answer, whose body is still to come, and its headers; redirects are followed.

        Raises:
            HttpStatusError: The status is none of the `good` ones.
            PermanentStorageError: It is a redirect that leads nowhere.
        """
        from urllib3 import Retry
        from urllib3.util import parse_url

        user = parse_url(url).auth
        headers = {"Accept-Encoding": "identity"} | headers
        headers |= {"Authorization": f"Basic {b64encode(unquote(user).encode()).decode()}"} if user else {}
        redirects = Retry(total=None, connect=0, read=0, status=0, other=0, redirect=_MOST_REDIRECTS, raise_on_redirect=False)
        raw = self._connections().request(method, url, headers=headers, preload_content=False, retries=redirects)
        found = {name.lower(): value for name, value in raw.headers.items()}
        if raw.status in good:
            return raw, found
        let_go(raw)
        if 300 <= raw.status < 400:
            way = f"more than {_MOST_REDIRECTS} redirects" if raw.get_redirect_location() else "no place that it leads to"
            raise PermanentStorageError(f"got HTTP status {raw.status} {raw.reason} and {way}, expected the object", url)
        raise HttpStatusError(raw.status, raw.reason or "", found.get("retry-after", ""))

    def _connections(self) -> Any:
        import urllib3

        with self._lock:
            if self._pool is None:
                connect_s, read_s = self._timeouts
                timeout = urllib3.Timeout(connect=connect_s, read=read_s)
                pool = urllib3.PoolManager(num_pools=64, maxsize=POOLED_CONNECTIONS, timeout=timeout)
                pool.pool_classes_by_scheme = watched(pool.pool_classes_by_scheme)
                self._pool = pool
            return self._pool


def _length(raw: Any, found: Headers) -> int | None:
    """How many bytes the body has that belongs to the headers; None where they do not tell.

    Raises:
        StrangeAnswer: The header is no number, or may be one of those that were lost: how much is missing would go unnoticed.
    """
    is_torn = raw._original_response.headers.defects  # a line that is none: urllib3 takes the lines before it
    length = found.get("content-length", "a torn header" if is_torn else "")
    if not length or raw.chunked:
        return None
    said = {part.strip() for part in length.split(",")}  # one header a line, all the same: RFC 9110 takes them for one
    if len(said) > 1 or not length.partition(",")[0].strip().isdecimal():
        raise StrangeAnswer(f"got Content-Length {length!r}, expected a number of bytes")
    return int(said.pop())
