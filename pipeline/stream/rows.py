"""One row of a batch: a sample's pixels and label, or those of the sample that stands in for a damaged one."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.errors import ConfigError, CorruptDataError
from pipeline.order import Order, chances
from pipeline.shards import (
    CENTER,
    MAX_READS,
    Cut,
    RawSample,
    ShardIndex,
    check_digest,
    decode_image,
    decode_label,
    image_field,
    read_samples,
)
from pipeline.stream.config import ImageSpec
from pipeline.stream.corrupt import CorruptSample, OnCorrupt

MAX_ATTEMPTS = 64
"""Replacements tried for one row. Where the budget is a small share, two damaged ones in a row are rare already."""


class RowMaker:
    """Decodes samples into rows.

    Args:
        index: The data set, for the samples that stand in.
        order: Its order, which names them.
        image: What images are made to.
        on_corrupt: Called for a damaged sample before another takes its place; None refuses damaged samples.
    """

    def __init__(self, index: ShardIndex, order: Order, image: ImageSpec, on_corrupt: OnCorrupt | None) -> None:
        self._index, self._order, self._image = index, order, image
        self._on_corrupt = on_corrupt
        self._reported: set[int] = set()
        self.replaced = 0
        """Rows filled by another sample than their own, so far."""

    def cuts(self, epochs: NDArray[np.int64], samples: NDArray[np.int64]) -> Iterator[Cut]:
        """Yields which part of its image each row shows.

        Args:
            epochs: Epoch of each row, int64 [rows].
            samples: Sample of each row, int64 [rows].
        """
        spec, seed = self._image, self._order.seed
        if spec.crop == "center" and not spec.flip:
            yield from [CENTER] * len(samples)
            return
        drawn = np.empty((len(samples), 4))
        for epoch in np.unique(epochs).tolist():
            drawn[epochs == epoch] = chances(seed, "cut", epoch, samples[epochs == epoch], 4)
        for side, top, left, mirror in drawn.tolist():
            mirrored = spec.flip and mirror < 0.5
            if spec.crop == "center":
                yield Cut(mirror=mirrored)
            else:
                yield Cut(spec.crop_min + (1 - spec.crop_min) * side, top, left, mirrored)

    def fill(self, raw: RawSample, epoch: int, sample: int, cut: Cut, out: NDArray[np.uint8]) -> int:
        """Writes a row's pixels and returns its label, -1 where none is asked for.

        Args:
            raw: The sample's bytes.
            epoch: The row's epoch.
            sample: The sample's number.
            cut: Which part of the image is shown.
            out: Where the pixels go, uint8 [size, size, channels].

        Raises:
            CorruptDataError: The sample is damaged and damaged ones are refused, or there are too many of them.
            StorageError: A sample that stands in could not be read.
        """
        number, attempt, reads = sample, 0, 1
        while True:
            try:
                return self._decode(raw, cut, out)
            except (CorruptDataError, ConfigError) as error:  # the latter: without an image or a label
                # Damaged on its way? Then what is read now differs, and may be sound. One that is listed was looked at enough.
                if reads < MAX_READS and number not in self._reported:
                    again, reads = self._read(number), reads + 1
                    if again.stretch != raw.stretch:
                        storage.count("retries", "decode")
                        raw = again
                        continue
                reason = error.problem if isinstance(error, CorruptDataError) else str(error)
                self._record(raw, number, reason)
            if attempt == MAX_ATTEMPTS:
                raise CorruptDataError(
                    f"none of {MAX_ATTEMPTS} samples that could stand in can be decoded", raw.uri, raw.offset
                )
            number = self._order.replacement(epoch, sample, attempt)
            raw, reads = self._read(number), 1
            self.replaced += attempt == 0
            attempt += 1

    def _decode(self, raw: RawSample, cut: Cut, out: NDArray[np.uint8]) -> int:
        spec = self._image
        check_digest(raw)
        label = decode_label(raw) if spec.num_classes else -1
        if label >= max(spec.num_classes, 0):
            raise CorruptDataError(f"label {label}, expected 0 to {spec.num_classes - 1}", raw.uri, raw.offset)
        data, limit = raw.fields[image_field(raw, spec.image_field)], spec.max_pixels
        decode_image(data, channels=spec.channels, size=spec.size, cut=cut, max_pixels=limit, out=out)
        return label

    def _record(self, raw: RawSample, number: int, reason: str) -> None:
        if self._on_corrupt is None:
            named = f"sample {raw.key!r}"
            problem = reason if reason.startswith(named) else f"{named}: {reason}"
            raise CorruptDataError(problem, raw.uri, raw.offset)
        if number not in self._reported:
            self._on_corrupt(CorruptSample(uri=raw.uri, offset=raw.offset, key=raw.key, reason=" ".join(reason.split())))
            self._reported.add(number)

    def _read(self, number: int) -> RawSample:
        shard = int(np.searchsorted(self._index.starts, number, side="right")) - 1
        member = number - int(self._index.starts[shard])
        return read_samples(self._index, shard, member, member + 1)[0]
