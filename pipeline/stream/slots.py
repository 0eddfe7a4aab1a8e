"""Memory that a consumer of the stream and the loaders on its node share, so that pixels are written once and never copied.

The consumer makes a slot, loaders write rows into it, and the consumer hands out arrays over it; a slot is used again when the
last array over it is gone. A slot is anonymous memory that belongs to its processes alone: it has no name in any folder, so
nothing stays behind, whoever is killed. Where a loader cannot reach it (another node, another container, no Linux), rows travel
as arrays instead.
"""

import mmap
import os
import secrets
import weakref
from collections import deque
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.storage import lend

BEGIN = 16
"""Where pixels begin in a slot, in bytes. libjpeg-turbo writes rows that begin at multiples of 32 bytes past the caches, which
costs 2-6% of decoding more than half a step beside them does (256x256 pixels, Xeon)."""


class SlotAddress(NamedTuple):
    """How another process of the node finds a slot."""

    pid: int
    """The process that made it."""
    fd: int
    """Its file descriptor there."""
    name: str
    """What that descriptor must be called; a process with the same number on another node has no such thing."""
    num_bytes: int
    """Size of its pixels."""


class Slot:
    """A stretch of memory.

    Args:
        num_bytes: Size; pages that nobody writes to take no memory.
    """

    def __init__(self, num_bytes: int) -> None:
        self.address: SlotAddress | None = None
        """How to find it; None where the system has no such memory."""
        if not hasattr(os, "memfd_create"):
            self.memory: NDArray[np.uint8] = np.empty(num_bytes, np.uint8)
            """uint8 [num_bytes]."""
            return
        name = f"swissroll-{secrets.token_hex(16)}"
        fd = os.memfd_create(name)
        weakref.finalize(self, os.close, fd)
        os.ftruncate(fd, BEGIN + num_bytes)
        self.memory = _mapped(fd, num_bytes)
        self.address = SlotAddress(os.getpid(), fd, f"/memfd:{name} (deleted)", num_bytes)


class SlotPool:
    """Slots of one size, used again and again: fresh memory costs more in the kernel than a copy does.

    Args:
        num_bytes: Size of each.
        most_free: Slots that are kept while nobody uses them.
    """

    def __init__(self, num_bytes: int, most_free: int) -> None:
        self._num_bytes = num_bytes
        self._free: deque[Slot] = deque(maxlen=most_free)

    def take(self) -> Slot:
        """Returns a slot that nobody uses."""
        try:
            return self._free.pop()
        except IndexError:
            return Slot(self._num_bytes)

    def lend(self, slot: Slot, *, reuse: bool) -> NDArray[np.uint8]:
        """Returns the slot's memory, uint8 [num_bytes]; the slot is free again when no array or tensor over it is left.

        Args:
            slot: From `take`; the caller forgets it.
            reuse: Whether it may ever be used again; False where somebody might still write to it.
        """
        free = self._free
        return lend(slot.memory, (lambda: free.append(slot)) if reuse else None)


class SlotReach:
    """The slots of other processes that this process has found."""

    def __init__(self) -> None:
        self._found: dict[SlotAddress, NDArray[np.uint8]] = {}

    def memory(self, address: SlotAddress) -> NDArray[np.uint8] | None:
        """Returns a slot's memory, uint8 [num_bytes]; None where it cannot be reached from here.

        Args:
            address: Where it is.
        """
        if address not in self._found:
            # Consumers come and go: what they gave back is let go of here too.
            self._found = {known: memory for known, memory in self._found.items() if _is_there(known)}
            memory = _opened(address)
            if memory is None:
                return None
            self._found[address] = memory
        return self._found[address]


def _opened(address: SlotAddress) -> NDArray[np.uint8] | None:
    if not _is_there(address):  # never open a stranger's file: it may be a pipe, or a device
        return None
    try:
        fd = os.open(_path(address), os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if not _is_called(Path(f"/proc/self/fd/{fd}"), address.name):
            return None
        return _mapped(fd, address.num_bytes)
    except (OSError, ValueError):  # the latter: smaller than it should be
        return None
    finally:
        os.close(fd)


def _mapped(fd: int, num_bytes: int) -> NDArray[np.uint8]:
    """uint8 [num_bytes]: the pixels' part of a slot."""
    return np.frombuffer(mmap.mmap(fd, BEGIN + num_bytes), np.uint8, offset=BEGIN)


def _is_there(address: SlotAddress) -> bool:
    return _is_called(_path(address), address.name)


def _is_called(descriptor: Path, name: str) -> bool:
    try:
        return str(descriptor.readlink()) == name
    except OSError:
        return False


def _path(address: SlotAddress) -> Path:
    return Path(f"/proc/{address.pid}/fd/{address.fd}")
