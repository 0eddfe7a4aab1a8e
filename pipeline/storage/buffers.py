"""Memory that is used again: for large buffers the kernel's work on fresh pages costs as much as filling them."""

import threading
import weakref
from collections import deque
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_BYTES = 256 * 1024
"""Smaller buffers come from Python's own allocator, which uses its memory again anyway."""
MOST_FREE_BYTES = 256 * 2**20
"""Memory that is kept while nobody uses it, at most."""


class BufferPool:
    """Buffers that are used again. Together with those in use, the free ones never take more than was in use at once before:
    where windows of all lanes end at one step, what they leave is what the next ones need half a window later."""

    def __init__(self) -> None:
        # Buffers come back in the middle of anything, be it of this pool's own work, wherever Python collects cycles: what
        # comes back only queues then, and whoever has the lock next takes it in.
        self._lock = threading.Lock()
        self._returned: deque[NDArray[np.uint8]] = deque()
        self._free: dict[int, NDArray[np.uint8]] = {}
        """By identity; the one that came back first is the first."""
        self.free_bytes = self.lent_bytes = self._most_lent_bytes = 0

    def take(self, num_bytes: int) -> memoryview:
        """Returns writable memory with anything in it; it is used again when the last view of it is gone.

        Args:
            num_bytes: How much.
        """
        size = _rounded(num_bytes)
        with self._lock:
            self._take_in()
            most = max(size, num_bytes * 5 // 4)  # which is what rounding up may come to anyway
            fits = [(len(free), key) for key, free in reversed(self._free.items()) if size <= len(free) <= most]
            memory = self._free.pop(min(fits, key=itemgetter(0))[1]) if fits else None
            if memory is not None:
                self.free_bytes -= len(memory)
            self.lent_bytes += size if memory is None else len(memory)
            self._most_lent_bytes = max(self._most_lent_bytes, self.lent_bytes)
            self._trim()
        if memory is None:
            try:
                memory = np.empty(size, np.uint8)
            except MemoryError:
                with self._lock:
                    self.lent_bytes -= size
                raise
        lent = lend(memory, lambda: self._give_back(memory))
        return memoryview(lent)[:num_bytes]  # pyright: ignore[reportArgumentType]

    def _give_back(self, memory: NDArray[np.uint8]) -> None:
        self._returned.append(memory)
        if self._lock.acquire(blocking=False):
            try:
                self._take_in()
                self._trim()
            finally:
                self._lock.release()

    def _take_in(self) -> None:
        while self._returned:
            memory = self._returned.popleft()
            self.lent_bytes -= len(memory)
            self._free[id(memory)] = memory
            self.free_bytes += len(memory)

    def _trim(self) -> None:
        most = min(MOST_FREE_BYTES, self._most_lent_bytes - self.lent_bytes)
        while self.free_bytes > most:
            self.free_bytes -= len(self._free.pop(next(iter(self._free))))


_pool = BufferPool()


def buffer(num_bytes: int) -> memoryview:
    """Returns writable memory with anything in it; a large one is used again when the last view of it is gone.

    Args:
        num_bytes: How much.
    """
    return memoryview(bytearray(num_bytes)) if num_bytes < LEAST_BYTES else _pool.take(num_bytes)


def lend(memory: NDArray[np.uint8], give_back: Callable[[], object] | None) -> NDArray[np.uint8]:
    """Returns an array over memory that tells when it is no longer used.

    Args:
        memory: The memory.
        give_back: Called, in whatever thread, when no array, tensor or view over the returned one is left.
    """
    lent = _Lent(memory)
    if give_back is not None:
        weakref.finalize(lent, give_back).atexit = False
    return np.asarray(lent)


class _Lent:
    """What arrays over the memory hold on to; arrays over arrays hold on to the same."""

    def __init__(self, memory: NDArray[np.uint8]) -> None:
        self._memory = memory
        self.__array_interface__: dict[str, Any] = memory.__array_interface__


def _rounded(num_bytes: int) -> int:
    """The next of four sizes between two powers of two, so that buffers of about one size serve for each other."""
    step = 1 << (num_bytes.bit_length() - 3)
    return -(-num_bytes // step) * step
