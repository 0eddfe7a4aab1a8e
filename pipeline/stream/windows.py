"""Shuffle windows in memory: fetched whole, one byte range per shard, and fetched ahead of their time."""

from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.order import Order, Segment, WindowSpan
from pipeline.shards import RawSample, ShardIndex, read_samples, reread
from pipeline.storage import RangeCache


class Window(NamedTuple):
    """The samples of a window in its shuffled order."""

    samples: list[RawSample]
    """Their bytes."""
    numbers: NDArray[np.int64]
    """Their numbers in the data set, int64 [samples]."""


Key = tuple[int, int, int]  # epoch, lane, window number


class WindowCache:
    """The encoded samples of the windows that a slice of the stream is in, and of the next one of each lane.

    Args:
        index: The data set.
        order: Its order.
        cache: Where their byte ranges are kept on this node; None keeps none.
        fetch_threads: Windows fetched at the same time.
    """

    def __init__(self, index: ShardIndex, order: Order, cache: RangeCache | None = None, fetch_threads: int = 4) -> None:
        self._index = index
        self._cache = cache
        self._order = order
        self._pool = ThreadPoolExecutor(fetch_threads, thread_name_prefix="window-fetch")
        self._windows: OrderedDict[Key, Future[Window]] = OrderedDict()

    def window(self, epoch: int, lane: int, span: WindowSpan) -> Window:
        """Returns a window, waiting for it where it is not here yet.

        Raises:
            StorageError: The bytes could not be read.
            CorruptDataError: The shard is not what the index says.
        """
        future = self._future(epoch, lane, span)
        try:
            return future.result()
        except Exception:
            # Whoever asks again gets a new attempt, not this failure.
            self._windows.pop((epoch, lane, span.index), None)
            raise

    def prefetch(self, epoch: int, lane: int, span: WindowSpan) -> None:
        """Starts fetching a window that is needed soon."""
        self._future(epoch, lane, span)

    def keep(self, needed: int) -> None:
        """Forgets the windows used longest ago until `needed` are left."""
        while len(self._windows) > needed:
            self._windows.popitem(last=False)

    def close(self) -> None:
        """Stops fetching; fetches under way are awaited."""
        self._pool.shutdown(cancel_futures=True)

    def _future(self, epoch: int, lane: int, span: WindowSpan) -> Future[Window]:
        key = (epoch, lane, span.index)
        if key not in self._windows:
            self._windows[key] = self._pool.submit(self._fetch, epoch, lane, span)
        self._windows.move_to_end(key)
        return self._windows[key]

    def _fetch(self, epoch: int, lane: int, span: WindowSpan) -> Window:
        found: list[RawSample] = []
        for segment in self._order.segments(epoch, lane, span):
            found += self._read(segment)
        positions, numbers = self._order.shuffled(epoch, lane, span)
        return Window([found[position] for position in positions.tolist()], numbers)

    def _read(self, segment: Segment) -> list[RawSample]:
        place = segment.shard, segment.start, segment.stop
        return reread(lambda first: read_samples(self._index, *place, self._cache if first else None), "read_samples")
