"""A slice of the stream: the same rows of every global batch, made on request."""

import numpy as np

from pipeline.errors import CorruptDataError
from pipeline.order import StreamOrder
from pipeline.shards import RawSample, ShardIndex, decode_image, decode_label, image_field
from pipeline.stream.arrays import BatchArrays
from pipeline.stream.config import ImageSpec
from pipeline.stream.windows import WindowCache


class SliceReader:
    """Makes rows [start, stop) of global batches; calls in step order are cheap, any other order is a seek of one window.

    Args:
        index: The data set.
        order: Its order.
        image: What images are decoded to.
        start: First row of each batch, inclusive.
        stop: Last row, exclusive.
    """

    def __init__(self, index: ShardIndex, order: StreamOrder, image: ImageSpec, start: int, stop: int) -> None:
        self._order = order
        self._image = image
        self._rows = (start, stop)
        self._lanes = order.lane_parts(start, stop)
        self._windows = WindowCache(index, order)

    def batch(self, step: int) -> BatchArrays:
        """Returns this slice's rows of global batch `step`.

        Raises:
            CorruptDataError: An image or label cannot be decoded; names the shard and the byte offset.
            StorageError: The shard could not be read.
        """
        start, stop = self._rows
        rows = self._order.rows(step, start, stop)
        images = np.empty((stop - start, self._image.size, self._image.size, self._image.channels), np.uint8)
        labels = np.full(stop - start, -1, np.int64)
        row = 0
        for epoch, lane, span, positions in self._order.places(step, start, stop):
            window = self._windows.samples(epoch, lane, span)
            for position in positions.tolist():
                self._decode(window[position], images[row])
                if self._image.num_classes:
                    labels[row] = self._label(window[position])
                row += 1
        self._look_ahead(step)
        return BatchArrays(images, labels, rows.sample, rows.epoch)

    def close(self) -> None:
        """Stops background reading."""
        self._windows.close()

    def _look_ahead(self, step: int) -> None:
        """Starts fetching windows whose turn comes within the next half window, and lets go of windows that are done."""
        share = self._order.config.batch_size // self._order.config.lanes
        ahead = max(1, self._order.config.window // (2 * share))
        for soon in (step + ahead, step + 1):
            for epoch, lane, span in self._order.spans(soon, *self._rows):
                self._windows.prefetch(epoch, lane, span)
        # Per lane: the windows that one batch touches, and as many ahead.
        per_batch = 1 + -(-share // self._order.config.window)
        self._windows.keep(2 * per_batch * len(self._lanes))

    def _decode(self, sample: RawSample, out: np.ndarray) -> None:
        field = image_field(sample)
        try:
            out[...] = decode_image(sample.fields[field], channels=self._image.channels, size=self._image.size)
        except CorruptDataError as error:
            raise CorruptDataError(f"sample {sample.key}.{field}: {error.problem}", sample.uri, sample.offset) from error

    def _label(self, sample: RawSample) -> int:
        label = decode_label(sample)
        if not 0 <= label < self._image.num_classes:
            raise CorruptDataError(
                f"sample {sample.key}: label {label}, expected 0 to {self._image.num_classes - 1}", sample.uri, sample.offset
            )
        return label
