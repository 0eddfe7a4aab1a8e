"""The least a sender must do: one that keeps a connection alive with a byte now and then is given up for a new one.

The rule holds for whole answers, header included, and below the clients: what they read without asking (headers, the bodies
of redirects and of errors) would otherwise last as long as the sender likes, as a socket's timeout only ends silence.
"""

import http.client
import io
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

from pipeline.storage.gathering import gather

STALL_S = 20.0
"""An answer that brings less than `STALL_BYTES` in this time is given up; a header must end within it, however long."""
STALL_BYTES = 64 * 1024
READ_BYTES = 1024 * 1024
"""At most so much is read at once where memory has to be made for it."""


class _WatchedSocket(io.RawIOBase):
    """A socket's file that raises TimeoutError where its sender stalls; one clock a read, which brings many bytes.

    Args:
        raw: The unbuffered file of the socket.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        connection = getattr(raw, "_sock", None)
        is_plain = type(connection) is socket.socket and sys.platform == "linux"  # one with TLS is of a class below it
        self._plain = connection if is_plain else None
        self.begin()

    def begin(self) -> None:
        """Begins to count anew."""
        self._since, self._got = time.monotonic(), 0

    def readinto(self, buffer: Any, /) -> int | None:
        """As the socket's file."""
        self._look_back()
        got = self._raw.readinto(buffer)  # pyright: ignore[reportAttributeAccessIssue] (typeshed leaves it out)
        self._got += got or 0
        return got

    def gather(self, into: memoryview) -> int:
        """As `readinto`, but fills `into` as far as that comes within a moment; with TLS, what has come.

        Args:
            into: Room for no more than is still to come.
        """
        if self._plain is not None:
            self._look_back()
            got = gather(self._plain, into)
            if got is not None:
                self._got += got
                return got
        return self.readinto(into) or 0

    def _look_back(self) -> None:
        """Raises TimeoutError where the time that ends here brought too little; before reading, lest what came be lost."""
        now = time.monotonic()
        if now - self._since >= STALL_S:
            if self._got < STALL_BYTES:
                raise TimeoutError(f"got {self._got} bytes in {now - self._since:.0f} s")
            self._since, self._got = now, 0

    def readable(self) -> bool:
        """True."""
        return True

    def fileno(self) -> int:
        """The socket's."""
        return self._raw.fileno()

    def close(self) -> None:
        """Closes the socket's file, too."""
        self._raw.close()
        super().close()


class WatchedAnswer(http.client.HTTPResponse):
    """An answer whose header, and then whose body, must not stall."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._socket = _WatchedSocket(self.fp.detach())
        self.fp = io.BufferedReader(self._socket)
        self.is_past_buffer = False
        """Whether what came with the header was read."""

    def begin(self) -> None:
        """Reads the header; the body's time begins after it."""
        super().begin()
        self._socket.begin()

    def read_once(self, into: memoryview) -> int:
        """Puts the next bytes at the start of `into`; no error loses what came before.

        What came together with the header is read alone. After it the buffer is empty, and bytes go to their place at once.
        """
        if self.is_past_buffer and self.fp is not None and not self.chunked and self.length is not None:
            got = self._socket.gather(into[: self.length])
            self.length -= got
            if not got:
                self.close()
        else:
            data = self.read1(min(len(into), READ_BYTES))
            got, self.is_past_buffer = len(data), True
            into[:got] = data
        return got

    def _read_status(self) -> tuple[str, int, str]:
        """As http.client's, which takes only 100 for what it is: a word before the answer, such as 103 (Early Hints)."""
        version, status, reason = super()._read_status()  # pyright: ignore[reportAttributeAccessIssue] (typeshed leaves it out)
        return version, http.client.CONTINUE if 101 < status < 200 else status, reason


def watched(pools: Mapping[str, Any]) -> dict[str, Any]:
    """The same classes of urllib3's connection pools, with connections whose answers must not stall.

    Args:
        pools: By scheme; urllib3's own, or those that another client derived from them.
    """

    def derived(pool: Any) -> Any:
        connection = type(pool.ConnectionCls.__name__, (pool.ConnectionCls,), {"response_class": WatchedAnswer})
        return type(pool.__name__, (pool,), {"ConnectionCls": connection})

    return {scheme: derived(pool) for scheme, pool in pools.items()}
