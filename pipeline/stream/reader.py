"""A slice of the stream: the same rows of every global batch, made on request."""

import numpy as np

from pipeline.order import Order
from pipeline.shards import ShardIndex
from pipeline.stream.arrays import BatchArrays
from pipeline.stream.config import ImageSpec
from pipeline.stream.corrupt import OnCorrupt
from pipeline.stream.rows import RowMaker
from pipeline.stream.windows import WindowCache


class SliceReader:
    """Makes rows [start, stop) of global batches; calls in step order are cheap, any other order is a seek of one window.

    Args:
        index: The data set.
        order: Its order.
        image: What images are decoded to.
        start: First row of each batch, inclusive.
        stop: Last row, exclusive.
        on_corrupt: Called for a sample that cannot be decoded, before another takes its place; None refuses such samples.
    """

    def __init__(
        self,
        index: ShardIndex,
        order: Order,
        image: ImageSpec,
        start: int,
        stop: int,
        *,
        on_corrupt: OnCorrupt | None = None,
    ) -> None:
        self._order = order
        self._image = image
        self._rows = (start, stop)
        self._windows = WindowCache(index, order)
        self._maker = RowMaker(index, order, image, on_corrupt)

    @property
    def replaced(self) -> int:
        """Rows filled by another sample than their own, so far."""
        return self._maker.replaced

    def batch(self, step: int) -> BatchArrays:
        """Returns this slice's rows of global batch `step`.

        Raises:
            CorruptDataError: An image or label cannot be decoded and such samples are refused, or `on_corrupt` found too many;
                names the shard and the byte offset.
            StorageError: The shard could not be read.
        """
        start, stop = self._rows
        rows = self._order.rows(step, start, stop)
        images = np.empty((stop - start, self._image.size, self._image.size, self._image.channels), np.uint8)
        labels = np.full(stop - start, -1, np.int64)
        cuts = self._maker.cuts(rows.epoch, rows.sample)
        row = 0
        for epoch, lane, span, positions in self._order.places(step, start, stop):
            window = self._windows.samples(epoch, lane, span)
            for position in positions.tolist():
                labels[row] = self._maker.fill(window[position], epoch, int(rows.sample[row]), next(cuts), images[row])
                row += 1
        self._look_ahead(step)
        return BatchArrays(images, labels, rows.sample, rows.epoch)

    def close(self) -> None:
        """Stops background reading."""
        self._windows.close()

    def _look_ahead(self, step: int) -> None:
        """Starts fetching windows whose turn comes within the next half window, and lets go of windows that are done."""
        start, stop = self._rows
        ahead = max(1, int(self._order.steps_a_window / 2))
        for soon in (step + ahead, step + 1):
            coming = self._order.spans(soon, start, stop)
            for epoch, lane, span in coming:
                self._windows.prefetch(epoch, lane, span)
        # Per lane: the windows that one batch touches, and as many ahead; in a mixture the next batch may touch another lane.
        lanes = min(self._order.num_lanes, len({lane for _, lane, _ in coming}) + 1)
        self._windows.keep((1 + -(-len(coming) // lanes)) * lanes)
