"""Shuffle windows in memory: fetched whole, one byte range per shard, and fetched ahead of their time."""

from bisect import bisect_right
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from pipeline.order import Order, WindowSpan
from pipeline.shards import Place, RangeSamples, RawSample, ShardIndex, ShardRange, fetch_ranges, ranges_at_hand, reread
from pipeline.storage import RangeCache


class Window:
    """The samples of a window in its shuffled order.

    Args:
        parts: Its samples as they lie in shards, one part after another.
        positions: Which of them come one after another, int64 [samples].
        numbers: Their numbers in the data set, likewise.
    """

    def __init__(self, parts: list[RangeSamples], positions: NDArray[np.int64], numbers: NDArray[np.int64]) -> None:
        self._parts, self._positions = parts, positions.tolist()
        self._starts = list(accumulate((len(part) for part in parts[:-1]), initial=0))
        self.numbers = numbers

    def samples(self, first: int, last: int) -> list[RawSample]:
        """The samples [first, last) of the shuffled order."""
        starts, found = self._starts, []
        for position in self._positions[first:last]:
            number = bisect_right(starts, position) - 1
            found.append(self._parts[number][position - starts[number]])
        return found


Key = tuple[int, int, int]  # epoch, lane, window number


class WindowCache:
    """The encoded samples of the windows that a slice of the stream is in, and of the next one of each lane.

    What can be read without waiting is read at once, ahead of its time as far as `prefetch` is told so. The rest is fetched by
    threads, which do nothing else: they take Python's lock away from decoding again and again, and each handing over costs more
    than parsing a sample.

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
        self._windows: OrderedDict[Key, Window | list[ShardRange] | Future[list[ShardRange]]] = OrderedDict()

    def window(self, epoch: int, lane: int, span: WindowSpan) -> Window:
        """Returns a window, waiting for it where it is not here yet.

        Raises:
            StorageError: The bytes could not be read.
            CorruptDataError: The shard is not what the index says.
        """
        found = self._found(epoch, lane, span)
        if isinstance(found, Window):
            return found
        key = epoch, lane, span.index
        try:
            fetched = found if isinstance(found, list) else found.result()
            parts = [self._samples(*pair) for pair in zip(self._places(epoch, lane, span), fetched, strict=True)]
        except Exception:
            # Whoever asks again gets a new attempt, not this failure.
            self._windows.pop(key, None)
            raise
        self._windows[key] = window = Window(parts, *self._order.shuffled(epoch, lane, span))
        return window

    def prefetch(self, epoch: int, lane: int, span: WindowSpan, *, may_read: bool) -> bool:
        """Starts fetching a window that is needed soon, and returns whether it is here already because it was read at once.

        Args:
            epoch: The window's epoch.
            lane: Its lane.
            span: The window.
            may_read: Whether to read it at once if that needs no waiting; it takes milliseconds all the same.
        """
        is_new = (epoch, lane, span.index) not in self._windows
        return isinstance(self._found(epoch, lane, span, may_read=may_read), list) and is_new

    def keep(self, needed: int) -> None:
        """Forgets the windows used longest ago until `needed` are left."""
        while len(self._windows) > needed:
            self._windows.popitem(last=False)

    def close(self) -> None:
        """Stops fetching; fetches under way are awaited."""
        self._pool.shutdown(cancel_futures=True)

    def _found(
        self, epoch: int, lane: int, span: WindowSpan, *, may_read: bool = True
    ) -> Window | list[ShardRange] | Future[list[ShardRange]]:
        key = (epoch, lane, span.index)
        if key not in self._windows:
            at_hand = ranges_at_hand(self._index, self._places(epoch, lane, span)) if may_read else None
            self._windows[key] = self._pool.submit(self._fetch, epoch, lane, span) if at_hand is None else at_hand
        self._windows.move_to_end(key)
        return self._windows[key]

    def _fetch(self, epoch: int, lane: int, span: WindowSpan) -> list[ShardRange]:
        places = self._places(epoch, lane, span)
        return reread(lambda first: fetch_ranges(self._index, places, self._cache if first else None), "read_samples")

    def _samples(self, place: Place, fetched: ShardRange) -> RangeSamples:
        """The samples of a range, which is read again where they are damaged."""
        again = partial(fetch_ranges, self._index, [place])
        return reread(lambda first: (fetched if first else again()[0]).samples(), "read_samples")

    def _places(self, epoch: int, lane: int, span: WindowSpan) -> list[Place]:
        return [(segment.shard, segment.start, segment.stop) for segment in self._order.segments(epoch, lane, span)]
