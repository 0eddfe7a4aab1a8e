"""Memory that is used again: for large buffers the kernel's work on fresh pages costs as much as filling them."""

import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_BYTES = 256 * 1024
"""Smaller buffers come from Python's own allocator, which uses its memory again anyway."""
MOST_FREE_BYTES = 64 * 2**20
"""Memory that is kept while nobody uses it."""

_free: dict[int, deque[NDArray[np.uint8]]] = {}


def buffer(num_bytes: int) -> memoryview:
    """Returns writable memory with anything in it; it is used again when the last view of it is gone.

    Args:
        num_bytes: How much.
    """
    if num_bytes < LEAST_BYTES:
        return memoryview(bytearray(num_bytes))
    size = _rounded(num_bytes)
    try:
        memory = _free[size].pop()
    except (KeyError, IndexError):
        memory = np.empty(size, np.uint8)
    return memoryview(lend(memory, lambda: _give_back(memory)))[:num_bytes]  # pyright: ignore[reportArgumentType]


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


def _give_back(memory: NDArray[np.uint8]) -> None:
    # Without a lock, for it may be called in the middle of anything: two threads may together keep a buffer too many.
    if sum(len(known) * size for size, known in list(_free.items())) + len(memory) <= MOST_FREE_BYTES:
        _free.setdefault(len(memory), deque()).append(memory)
