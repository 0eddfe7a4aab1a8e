"""All other stores, through fsspec: S3, HTTP, memory, and what else has an fsspec file system."""

import errno
import threading
from datetime import datetime
from typing import Any

from fsspec.core import url_to_fs

from pipeline.errors import ConfigError, PermanentStorageError
from pipeline.storage.faults import is_missing, is_name_taken, short_range
from pipeline.storage.http_client import HttpClient
from pipeline.storage.info import ObjectInfo
from pipeline.storage.ranges import SLOWEST_BYTES_PER_S, OpenRange
from pipeline.storage.s3_session import timely_session
from pipeline.storage.urls import scheme_of
from pipeline.storage.web_ranges import S3Client

_CONNECT_TIMEOUT_S = 10
_READ_TIMEOUT_S = 60
_JOINING_TIMEOUT_S = 600
RANGE_TIMEOUT_S = 20.0
"""A range whose next bytes, or a look (a header, a page of a listing) that does not come in this time is asked for again:
unlike a put, it is cheap to repeat."""
_S3_SCHEMES = frozenset({"s3", "s3a"})
_HTTP_SCHEMES = frozenset({"http", "https"})
# Stores whose fsspec file system makes an object visible whole, and has a create that fails where the name is taken.
WRITABLE_SCHEMES = _S3_SCHEMES | {"memory", "gs", "gcs", "abfs", "abfss", "az"}
_SINGLE_PUT_CHUNK_BYTES = 5 * 2**29  # s3fs uploads in one PUT below twice this: S3's limit of 5 GiB
_BLOCK_BYTES = 8 * 2**20
_HTTP = HttpClient(_CONNECT_TIMEOUT_S, RANGE_TIMEOUT_S)
_S3 = S3Client(_CONNECT_TIMEOUT_S, RANGE_TIMEOUT_S)
# memory:// looks for the name and then stores: two steps that threads must not interleave.
_memory_lock = threading.Lock()


class _BlockRange:
    """A range read block by block, for file systems that have no way to send one as it comes."""

    def __init__(self, fs: Any, path: str, start: int, end: int, version: str) -> None:
        self._fs, self._path, self._at, self._end = fs, path, start, end
        self.version = version

    def readinto(self, into: memoryview) -> int:
        """Puts the next block at the start of `into`."""
        size = min(_BLOCK_BYTES, self._end - self._at, len(into))
        data = self._fs.cat_file(self._path, start=self._at, end=self._at + size)
        if len(data) < size:
            raise short_range(self._path, self._at + len(data), self._end)
        into[:size] = data
        self._at += size
        return size

    def close(self) -> None:
        """Nothing is held."""


class RemoteStore:
    """Objects behind fsspec. Raises what the clients raise; `faults` knows what it means."""

    def exists(self, url: str) -> bool:
        """Whether an object or a folder has this name."""
        try:
            self._entry(url)
        except Exception as error:  # clients report "missing" in several classes
            if is_missing(error):
                return False
            raise
        return True

    def is_folder(self, url: str) -> bool:
        """Whether objects lie below this name; HTTP has no folders."""
        if scheme_of(url) in _HTTP_SCHEMES or not self.exists(url):
            return False
        return self._entry(url)["type"] == "directory"

    def info(self, url: str) -> ObjectInfo:
        """Size and version of an object."""
        entry = self._entry(url)
        if entry["type"] == "directory":
            raise IsADirectoryError(errno.EISDIR, "is a folder, expected an object")
        return _object_info(url, entry)

    def list_objects(self, url: str, recursive: bool) -> list[ObjectInfo]:
        """Objects in the folder, in no order; none if there is no such folder."""
        fs, path = _open(url)
        try:
            entries = list(fs.find(path, detail=True).values()) if recursive else fs.ls(path, detail=True)
        except FileNotFoundError as error:
            if is_missing(error):
                return []
            raise
        found = []
        for entry in entries:
            name = entry["name"]
            # Left out: folders, the empty objects some tools put as folder markers, and an object of the folder's own name.
            if entry["type"] == "directory" or name.endswith("/") or name == path:
                continue
            entry_url = _url_of(url, name)
            found.append(self.info(entry_url) if entry.get("size") is None else _object_info(entry_url, entry))
        return found

    def glob(self, pattern: str) -> list[str]:
        """Objects and folders that match."""
        fs, path = _open(pattern)
        return [_url_of(pattern, str(name)) for name in fs.glob(path)]

    def read_bytes(self, url: str) -> bytes:
        """The whole object, by one request."""
        scheme = scheme_of(url)
        if scheme in _HTTP_SCHEMES:
            return _HTTP.read(url)
        fs, path = _open(url)
        return _S3.read(fs, path) if scheme in _S3_SCHEMES else fs.cat_file(path)

    def open_range(self, url: str, start: int, end: int, version: str) -> OpenRange:
        """Asks for a range of one version of an object."""
        scheme = scheme_of(url)
        if scheme in _HTTP_SCHEMES:
            return _HTTP.open_range(url, start, end, version, _version)
        fs, path = _open(url)
        if scheme in _S3_SCHEMES:
            return _S3.open_range(fs, path, url, start, end, version)
        return _BlockRange(fs, path, start, end, version=_version(fs.info(path)))

    def server_of(self, url: str) -> str:
        """The server's address where the URL does not tell it."""
        return _S3.address(_open(url)[0]) if scheme_of(url) in _S3_SCHEMES else ""

    def put_once(self, url: str, data: bytes | bytearray | memoryview) -> bool:
        """Create the object by one conditional request; False if the name was taken."""
        fs, path = _open_writable(url)
        try:
            if scheme_of(url) == "memory":
                with _memory_lock:
                    fs.pipe_file(path, bytes(data), mode="create")
            else:
                fs.pipe_file(path, bytes(data), mode="create", **_put_options(url))
        except OSError as error:
            # The same errors also mean other things (a parent that is a file, a bad bucket name): look.
            if is_name_taken(error) and self.exists(url) and not self.is_folder(url):
                return False
            raise
        return True

    def put_replace(self, url: str, data: bytes | bytearray | memoryview) -> None:
        """Give the object this content, whatever it held before."""
        fs, path = _open_writable(url)
        fs.pipe_file(path, bytes(data), **_put_options(url))

    def remove_tree(self, url: str) -> None:
        """Remove all that is below this name, or one object; nothing if the name is free."""
        if self.exists(url):
            fs, path = _open(url)
            fs.rm(path, recursive=True)

    def _entry(self, url: str) -> dict[str, Any]:
        if scheme_of(url) in _HTTP_SCHEMES:  # by the client that reads: fsspec's would ask for a URL of another spelling
            size, found = _HTTP.look(url)
            return {**found, "type": "file", "size": size}
        fs, path = _open(url)
        return fs.info(path)


def _open(url: str) -> tuple[Any, str]:
    """The fsspec file system (one per process and store: fsspec keeps them) and the path in it.

    The file system is Any because fsspec's own annotations are wider than what its calls return.
    """
    scheme = scheme_of(url)
    options: dict[str, Any] = {}
    if scheme in _S3_SCHEMES:
        options = {
            "use_listings_cache": False,
            "max_concurrency": 1,  # parts of a put that is too large for one request go one by one: each is held in memory
            "config_kwargs": {
                "connect_timeout": _CONNECT_TIMEOUT_S,
                "read_timeout": _READ_TIMEOUT_S,
                "http_session_cls": timely_session(RANGE_TIMEOUT_S, _READ_TIMEOUT_S, _JOINING_TIMEOUT_S, SLOWEST_BYTES_PER_S),
                "max_pool_connections": 32,
                "retries": {"total_max_attempts": 1, "mode": "standard"},  # this room retries, and counts
                # Many S3 servers cannot do the newer checksums that botocore sends by default.
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            },
        }
    elif scheme in _HTTP_SCHEMES:
        options = {"client_kwargs": {"timeout": _http_timeout()}}
    try:
        fs, path = url_to_fs(url, **options)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"got a URL of an unknown or uninstalled kind: {error} ({url})") from error
    if scheme in _S3_SCHEMES:
        fs.retries = 1  # one attempt: see above
    return fs, path


def _open_writable(url: str) -> tuple[Any, str]:
    scheme = scheme_of(url)
    if scheme not in WRITABLE_SCHEMES:
        known = ", ".join(sorted(WRITABLE_SCHEMES))
        raise PermanentStorageError(
            f"cannot write to {scheme!r}: got no exclusive whole-object put, expected one of {known}", url
        )
    return _open(url)


def _put_options(url: str) -> dict[str, Any]:
    return {"chunksize": _SINGLE_PUT_CHUNK_BYTES} if scheme_of(url) in _S3_SCHEMES else {}


def _http_timeout() -> Any:
    import aiohttp  # slow to load, and needed for http(s) alone

    # A total, as no bodies are read this way that are larger than a page: it ends a header that drips, too.
    return aiohttp.ClientTimeout(total=RANGE_TIMEOUT_S, sock_connect=_CONNECT_TIMEOUT_S)


def _url_of(url: str, name: str) -> str:
    """The full URL of an fsspec name found through `url`: most file systems drop the scheme from names."""
    return name if "://" in name else f"{url.partition('://')[0]}://{name.lstrip('/')}"


def _object_info(url: str, entry: dict[str, Any]) -> ObjectInfo:
    size = entry.get("size")
    if size is None:
        raise PermanentStorageError("got no size from the server, expected one", url)
    return ObjectInfo(url=url, size=int(size), version=_version(entry))


def _version(entry: dict[str, Any]) -> str:
    """The store's own token for the content; else the best time stamp it has."""
    for key in ("ETag", "etag", "generation", "Last-Modified", "last-modified", "LastModified", "mtime", "updated", "created"):
        value = entry.get(key)
        if isinstance(value, datetime):  # memory:// tells a datetime here and a float there
            return repr(value.timestamp())
        if value:
            return str(value).strip('"') if key.lower() == "etag" else str(value)
    return ""
