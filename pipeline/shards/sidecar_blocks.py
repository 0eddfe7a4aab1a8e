"""A small sidecar on a store is fetched in blocks: else a first pass over a data set would ask twice more for every shard.

A block holds the numbers of many shards, of which those that are asked for are checked by their seals, as if read alone.
"""

import threading
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline import storage

BLOCK_NUMBERS = 65_536
"""Numbers of one block, 512 KiB."""

MOST_NUMBERS = 5_000_000
"""Numbers of all blocks of a process, 40 MB; shards of larger sidecars are read alone, for few would lie in a block."""

NUMBER_BYTES = 8


class Place(NamedTuple):
    """Where a sidecar's numbers are, and whose they are."""

    url: str
    fingerprint: str
    """Of the index."""
    data_offset: int
    """The byte where they begin."""
    total: int
    """Their number."""


def read_numbers(place: Place, position: int, length: int) -> NDArray[np.int64]:
    """Numbers of a sidecar, as they are there.

    Args:
        place: The sidecar.
        position: The first number.
        length: How many.
    """
    first = place.data_offset + position * NUMBER_BYTES
    return np.frombuffer(storage.read_range(place.url, first, first + length * NUMBER_BYTES), "<i8")


class Blocks:
    """The blocks that were read. Threads ask; what several of them want at once is read once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: dict[tuple[Place, int], NDArray[np.int64]] = {}
        self._reading: dict[tuple[Place, int], threading.Event] = {}
        """Set when it was read, or could not be."""
        self._numbers = 0
        """Of those that are here and those that are being read."""

    def find(self, place: Place, position: int, length: int) -> NDArray[np.int64] | None:
        """As `read_numbers`, as they were when their block was read.

        None where they are to be read alone: they lie on the local disk or in two blocks, blocks would take too much, or
        another thread has just failed to read theirs.
        """
        number = position // BLOCK_NUMBERS
        if storage.is_local(place.url) or (position + length - 1) // BLOCK_NUMBERS > number:
            return None
        key, first = (place, number), number * BLOCK_NUMBERS
        size = min(BLOCK_NUMBERS, place.total - first)
        with self._lock:
            block, reading = self._blocks.get(key), self._reading.get(key)
            if block is None and reading is None:
                if place.total > MOST_NUMBERS or self._numbers + size > MOST_NUMBERS:
                    return None
                self._numbers += size
                self._reading[key] = threading.Event()
        if block is None and reading is None:
            block = self._read(key, first, size)
        elif block is None and reading is not None:
            reading.wait()  # no longer than one read with all its attempts lasts
            block = self._blocks.get(key)
        return None if block is None else block[position - first :][:length]

    def forget(self, place: Place, position: int) -> None:
        """Has the block of this position, of which something came damaged, read again when it is wanted again."""
        with self._lock:
            block = self._blocks.pop((place, position // BLOCK_NUMBERS), None)
            self._numbers -= 0 if block is None else len(block)

    def _read(self, key: tuple[Place, int], first: int, size: int) -> NDArray[np.int64]:
        try:
            block = read_numbers(key[0], first, size)
        except BaseException:
            with self._lock:
                self._numbers -= size
                self._reading.pop(key).set()
            raise
        with self._lock:
            self._blocks[key] = block
            self._reading.pop(key).set()
        return block
