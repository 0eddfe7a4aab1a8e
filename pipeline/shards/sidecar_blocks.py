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
"""Numbers of all blocks of a process, 40 MB; sidecars with more than that are read shard by shard, for no shard of them is
likely to lie in a block that was read."""

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
    """The blocks that were read. Threads ask; what two of them want at once is read once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: dict[tuple[Place, int], NDArray[np.int64]] = {}
        self._reading: dict[tuple[Place, int], threading.Lock] = {}
        self._numbers = 0

    def find(self, place: Place, position: int, length: int) -> NDArray[np.int64] | None:
        """As `read_numbers`, as they were when their block was read.

        None where they are to be read alone: they lie on the local disk or in two blocks, or blocks would take too much.
        """
        number = position // BLOCK_NUMBERS
        if storage.is_local(place.url) or (position + length - 1) // BLOCK_NUMBERS > number:
            return None
        key, first = (place, number), number * BLOCK_NUMBERS
        size = min(BLOCK_NUMBERS, place.total - first)
        with self._lock:
            if key not in self._blocks and (place.total > MOST_NUMBERS or self._numbers + size > MOST_NUMBERS):
                return None
            reading = self._reading.setdefault(key, threading.Lock())
        with reading:
            if key not in self._blocks:
                block = read_numbers(place, first, size)
                with self._lock:
                    self._blocks[key] = block
                    self._numbers += size
        return self._blocks[key][position - first :][:length]
