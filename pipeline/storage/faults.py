"""Which faults pass by themselves, which will not change, and what each is called.

Stores report in many tongues: errno, botocore's and aiohttp's errors, HTTP statuses. This file is the only place that
understands them; it has the clients' classes from `client_errors`.
"""

import errno
import http.client
import socket

from pipeline.errors import PermanentStorageError, PermissionDenied, StorageError, TransientStorageError
from pipeline.storage.archive_errors import is_archive_error
from pipeline.storage.client_errors import chain, is_client_error, is_garbled
from pipeline.storage.tls import is_bad_line, is_refused_certificate, is_tls

# 409: two conditional puts met; ask again. CDNs have codes of their own above 510, such as 520 to 524 of Cloudflare.
_TRANSIENT_STATUS = frozenset({408, 409, 425, 429, *range(500, 600)}) - {501, 505}
_THROTTLE_STATUS = frozenset({429, 503})
_MISSING_STATUS = frozenset({404, 410})
# EBUSY and EREMOTEIO are what s3fs makes of 503 (SlowDown) and 500.
_TRANSIENT_ERRNO = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EREMOTEIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)
_DISK_FULL_ERRNO = frozenset({errno.ENOSPC, errno.EDQUOT})


class StrangeAnswer(ConnectionError):
    """A server answered something else than it was asked; one that does so always is no server for this.

    Args:
        problem: What was got and what was expected.
        lasting: What is wrong where the answer stays the same however often it is asked for.
    """

    def __init__(self, problem: str, lasting: StorageError | None = None) -> None:
        super().__init__(problem)
        self.lasting = lasting


def http_status(error: BaseException) -> int | None:
    """The HTTP status the store answered with, or None where the error carries none."""
    if is_garbled(error):
        return None  # aiohttp makes up a 400, which no server has said
    for link in chain(error):
        response = getattr(link, "response", None)
        if isinstance(response, dict):  # botocore
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if isinstance(status, int):
                return status
        for name in ("status", "status_code", "code"):  # aiohttp; azure and requests; gcsfs
            status = getattr(link, name, None)
            if isinstance(status, int) and 400 <= status <= 599:
                return status
    return None


def _s3_code(error: BaseException) -> str | None:
    """The S3 server's own name for the error, such as NoSuchBucket."""
    for link in chain(error):
        response = getattr(link, "response", None)
        if isinstance(response, dict):
            return response.get("Error", {}).get("Code")
    return None


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed a little later."""
    if http_status(error) in _TRANSIENT_STATUS:
        return True
    if any(is_refused_certificate(link) for link in chain(error)):
        return False
    for link in chain(error):
        if isinstance(link, (ConnectionError, TimeoutError, http.client.HTTPException, socket.gaierror)) or is_tls(link):
            return True
        if isinstance(link, OSError) and link.errno in _TRANSIENT_ERRNO:
            return True
        if is_client_error(link, "transient"):
            return True
    return is_garbled(error)


def is_doubtful(error: BaseException) -> bool:
    """Whether a transient fault is more likely a wrong address or a server that never does better: not worth minutes."""
    if http_status(error) in _TRANSIENT_STATUS:
        return False
    for link in chain(error):
        if isinstance(link, StrangeAnswer) or (is_tls(link) and not is_bad_line(link)):
            return True
        if isinstance(link, socket.gaierror) and link.errno == socket.EAI_NONAME:
            return True
    return is_garbled(error)


def is_throttle(error: BaseException) -> bool:
    """Whether the store asks for fewer requests."""
    return http_status(error) in _THROTTLE_STATUS or _s3_code(error) == "SlowDown"


def is_timeout(error: BaseException) -> bool:
    """Whether the store stayed silent for too long."""
    # By name: every client has classes of its own for this, and not all of them are a builtin TimeoutError.
    return any(isinstance(link, TimeoutError) or "Timeout" in type(link).__name__ for link in chain(error))


def retry_after_s(error: BaseException) -> float:
    """How long the store wants to be left alone, in seconds; 0 where it does not say, or says a date."""
    for link in chain(error):
        response = getattr(link, "response", None)
        said = getattr(link, "retry_after", None)  # ours
        if isinstance(response, dict):  # botocore
            said = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("retry-after")
        elif said is None:  # aiohttp
            said = (getattr(link, "headers", None) or {}).get("Retry-After")
        if said and str(said).strip().isdigit():
            return float(said)
    return 0.0


def changed(url: str, got: str, expected: str) -> PermanentStorageError:
    """The error for an object that is not the one that was looked at before.

    Args:
        url: The object.
        got: Its version now; empty where the store only says that it is another.
        expected: The version it had.
    """
    return PermanentStorageError(f"the object changed: got version {got or 'unknown'}, expected {expected}", url)


def short_range(url: str, size: int, end: int) -> PermanentStorageError:
    """The error for a range that goes beyond the object.

    Args:
        url: The object.
        size: Where the object ends, in bytes.
        end: Where the range ends.
    """
    return PermanentStorageError(f"read_range: the object ends at byte {size}, expected at least {end} bytes", url)


def is_missing(error: BaseException) -> bool:
    """Whether the store says that there is no such object (and is not merely unable to look)."""
    if is_transient(error):
        return False
    status = http_status(error)
    return isinstance(error, FileNotFoundError) if status is None else status in _MISSING_STATUS


def is_name_taken(error: BaseException) -> bool:
    """Whether a conditional put may have been refused because the name is taken; to be confirmed by looking.

    AWS and moto answer 412, which s3fs calls FileExistsError; Ceph's 412 arrives as EINVAL.
    """
    if isinstance(error, FileExistsError) or http_status(error) == 412:
        return True
    return isinstance(error, OSError) and error.errno == errno.EINVAL


def in_our_words(error: Exception, url: str, doing: str) -> StorageError | None:
    """The project's error for a store's error, or None if `error` is no answer of a store (a mistake in code, say).

    Args:
        error: What was raised.
        url: The object or folder concerned.
        doing: The operation, such as "read_bytes".
    """
    if isinstance(error, StorageError):
        return error
    status = http_status(error)
    if is_transient(error):
        return TransientStorageError(f"{doing} failed: {_one_line(error)}", url)
    if is_missing(error):
        return PermanentStorageError(f"{doing}: no such {'bucket' if _s3_code(error) == 'NoSuchBucket' else 'object'}", url)
    if isinstance(error, PermissionError) or status in {401, 403} or getattr(error, "errno", None) == errno.EROFS:
        return PermissionDenied(f"{doing}: permission denied: {_one_line(error)}", url)
    if isinstance(error, OSError) and error.errno in _DISK_FULL_ERRNO:
        return PermanentStorageError(f"disk full while {doing}: {_one_line(error)}", url)
    if is_archive_error(error, url):
        return PermanentStorageError(f"{doing}: got no archive that can be read after the '::': {_one_line(error)}", url)
    if isinstance(error, OSError) or status is not None or is_client_error(error, "any"):
        return PermanentStorageError(f"{doing} failed: {_one_line(error)}", url)
    return None


def _one_line(error: BaseException) -> str:
    """Class and text of an error on one line; many clients' errors have no text of their own."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
