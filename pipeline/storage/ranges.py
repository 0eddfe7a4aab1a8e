"""Ranged reads that go on at the byte reached: what came before a fault is kept, and the rest must be of the same version."""

from contextlib import closing
from dataclasses import replace
from typing import Protocol

from pipeline.errors import PermanentStorageError
from pipeline.storage.buffers import buffer
from pipeline.storage.counts import count
from pipeline.storage.faults import StrangeAnswer, changed
from pipeline.storage.retry import DEFAULT_POLICY, Attempts, RetryPolicy
from pipeline.storage.urls import is_local

SLOWEST_BYTES_PER_S = 100_000
"""A read may take the policy's time and as much more as its bytes take at this rate."""


class NoRange(StrangeAnswer):
    """The server sent something else than a range; a server that does so three times on end sends none."""


class OpenRange(Protocol):
    """A range of one object that is being sent."""

    @property
    def version(self) -> str:
        """Version of the object that is sent, as `ObjectInfo.version`; empty where the store does not tell."""
        ...

    def readinto(self, into: memoryview) -> int:
        """Puts the next bytes at the start of `into`, as many as come within a moment, and returns how many; 0 at the end."""
        ...

    def close(self) -> None:
        """Lets go of the connection or file."""
        ...


class RangeStore(Protocol):
    """A store that sends ranges."""

    def open_range(self, url: str, start: int, end: int, version: str) -> OpenRange:
        """Asks for bytes start..end-1 of this version of an object, of any version where it is empty."""
        ...


def fetch_range(
    store: RangeStore,
    url: str,
    start: int,
    end: int,
    version: str = "",
    policy: RetryPolicy = DEFAULT_POLICY,
    *,
    into: memoryview | None = None,
) -> memoryview:
    """Exactly the bytes start..end-1 of one version of an object.

    Args:
        store: Where the object is.
        url: The object, in its one spelling.
        start: First byte.
        end: One past the last byte, above `start`.
        version: The version that is wanted; where it is empty, the one that the first attempt meets.
        policy: Bounds on doubtful attempts that bring no byte, and on the time beyond what `SLOWEST_BYTES_PER_S` takes.
        into: Memory of the range's size that is filled and returned; other memory where it is None.

    Raises:
        PermanentStorageError: The object is missing, too short, or of another version.
        TransientStorageError: The store did not send the bytes within the bounds.
    """
    view = buffer(end - start) if into is None else into
    reached = 0
    allowed = replace(policy, total_s=policy.total_s + len(view) / SLOWEST_BYTES_PER_S)
    attempts = Attempts("read_range", url, allowed)
    strange = 0
    while reached < len(view):
        try:
            with closing(store.open_range(url, start + reached, end, version)) as answer:
                if version and answer.version != version:
                    raise changed(url, answer.version, version)
                version = answer.version
                while reached < len(view):
                    got = answer.readinto(view[reached:])
                    if not got:
                        raise ConnectionError(f"sent {reached} of {len(view)} bytes, then nothing")
                    reached += got
                    attempts.progressed()
                    strange = 0
        except NoRange as error:
            strange += 1
            if strange == 3:
                raise PermanentStorageError(f"read_range: {error}", url) from error
            attempts.failed(error)
        except Exception as error:  # noqa: BLE001 (raised again by `failed` unless it passes by itself)
            attempts.failed(error)
    attempts.succeeded()
    count("read_bytes", "local" if is_local(url) else "remote", len(view))
    return view
