"""A slice of the stream: the same rows of every global batch, made on request."""

import numpy as np
from numpy.typing import NDArray

from pipeline.order import Order
from pipeline.shards import RawSample, ShardIndex
from pipeline.storage import RangeCache
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
        cache: Where byte ranges are kept on this node; None keeps none.
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
        cache: RangeCache | None = None,
    ) -> None:
        self._order = order
        self._image = image
        self._rows = (start, stop)
        self._windows = WindowCache(index, order, cache)
        self._maker = RowMaker(index, order, image, on_corrupt)

    @property
    def replaced(self) -> int:
        """Rows filled by another sample than their own, so far."""
        return self._maker.replaced

    def batch(self, step: int, images: NDArray[np.uint8] | None = None) -> BatchArrays:
        """Returns this slice's rows of global batch `step`.

        Args:
            step: Number of the batch.
            images: Where the pixels go, uint8 [rows, size, size, channels]; new memory where it is None.

        Raises:
            CorruptDataError: An image or label cannot be decoded and such samples are refused, or `on_corrupt` found too many;
                names the shard and the byte offset.
            StorageError: The shard could not be read.
        """
        start, stop = self._rows
        if images is None:
            images = np.empty((stop - start, *self._image.shape), np.uint8)
        stretches = self._order.stretches(step, start, stop)
        raws: list[RawSample] = []
        numbers: list[NDArray[np.int64]] = []
        for stretch in stretches:
            window = self._windows.window(stretch.epoch, stretch.lane, stretch.span)
            raws += window.samples(stretch.first, stretch.last)
            numbers.append(window.numbers[stretch.first : stretch.last])
        samples = np.concatenate(numbers)
        epochs = np.repeat([stretch.epoch for stretch in stretches], [s.last - s.first for s in stretches])
        cuts = self._maker.cuts(epochs, samples)
        rows = zip(raws, epochs.tolist(), samples.tolist(), cuts, images, strict=True)
        labels = np.array([self._maker.fill(raw, epoch, sample, cut, out) for raw, epoch, sample, cut, out in rows])
        self._look_ahead(step)
        return BatchArrays(images, labels, samples, epochs)

    def close(self) -> None:
        """Stops background reading."""
        self._windows.close()

    def _look_ahead(self, step: int) -> None:
        """Starts fetching windows whose turn comes within the next half window, and lets go of windows that are done."""
        start, stop = self._rows
        ahead = max(1, int(self._order.steps_a_window / 2))
        may_read = True  # one window: where all lanes begin new ones, at the start, the batch should not have to wait for them
        for soon in (step + ahead, step + 1):
            coming = self._order.stretches(soon, start, stop)
            for epoch, lane, span, _, _ in coming:
                may_read = not self._windows.prefetch(epoch, lane, span, may_read=may_read) and may_read
        # Per lane: the windows that one batch touches, and as many ahead; in a mixture the next batch may touch another lane.
        lanes = min(self._order.num_lanes, len({stretch.lane for stretch in coming}) + 1)
        self._windows.keep((1 + -(-len(coming) // lanes)) * lanes)
