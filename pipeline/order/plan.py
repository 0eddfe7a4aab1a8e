"""The order itself: the samples of global batch k, for every k, from shard sizes, seed and batch size alone.

An epoch permutes the shards; laid end to end they form the epoch's sequence of N samples. Lanes cut that sequence, windows
shuffle inside lanes (see `lanes`). A lane runs through its part of epoch 0, then of epoch 1, and so on without end, so
every sample comes exactly once an epoch and every batch is full. Lanes come to the end of an epoch together: where N is no
multiple of the batch size, one batch takes what is left of an epoch and is filled up from the next, in each lane.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from pipeline.errors import ConfigError
from pipeline.order.answers import Ints, LanePart, LaneWindow, OrderConfig, Place, Rows, Segment, Stretch
from pipeline.order.keys import key64
from pipeline.order.lanes import WindowSpan, epoch_at, lane_bounds, window_at
from pipeline.order.permutation import permute, permute_each
from pipeline.order.replacement import replacement

ORDER_VERSION = 2
_NOWHERE = LaneWindow(0, 0, 0, WindowSpan(0, 0, 0))
_EPOCHS_KEPT = 2  # a batch touches at most two epochs when N >= batch size; more are computed again on demand


class StreamOrder:
    """The order of samples of one data set under one configuration; holds O(number of shards) memory.

    Args:
        shard_samples: Number of samples of each shard, in the index's order.
        config: Seed, batch size, lanes and window.

    Raises:
        ConfigError: There are fewer samples than lanes.
    """

    def __init__(self, shard_samples: Sequence[int] | Ints, config: OrderConfig) -> None:
        self.counts = np.asarray(shard_samples, dtype=np.int64)
        self.config = config
        self.num_samples = int(self.counts.sum())
        if self.num_samples < config.lanes:
            raise ConfigError(f"lanes must be at most the number of samples {self.num_samples}, got {config.lanes}")
        # int64 [shards + 1]: samples before each shard.
        self.first_sample = np.concatenate(([0], np.cumsum(self.counts)))
        self._epochs: dict[int, tuple[Ints, Ints]] = {}
        self._window_keys: dict[int, tuple[tuple[int, int], int]] = {}
        self._reached: dict[int, tuple[LaneWindow, LaneWindow]] = {}

    @property
    def seed(self) -> int:
        """Seed of the order."""
        return self.config.seed

    @property
    def batch_size(self) -> int:
        """Samples of a global batch."""
        return self.config.batch_size

    @property
    def num_lanes(self) -> int:
        """Lanes that a whole batch takes from; `Place.lane` is below it."""
        return self.config.lanes

    @property
    def window(self) -> int:
        """Samples shuffled with each other in a lane."""
        return self.config.window

    @property
    def steps_a_window(self) -> float:
        """Batches after which a lane has gone through a full window."""
        return self.config.window * self.config.lanes / self.config.batch_size

    def fingerprint(self, index_fingerprint: str) -> str:
        """Returns a hex digest of everything that decides the order, to be kept with a `Cursor`."""
        c = self.config
        text = f"order {ORDER_VERSION} {index_fingerprint} {c.seed} {c.batch_size} {c.lanes} {c.window}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def epochs_at(self, step: int) -> float:
        """Returns how many passes over the data set lie before global batch `step`."""
        return step * self.config.batch_size / self.num_samples

    def rows(self, step: int, start: int = 0, stop: int | None = None) -> Rows:
        """Returns rows [start, stop) of global batch `step`: which samples, of which epoch.

        Args:
            step: Number of the batch, from 0.
            start: First row, inclusive.
            stop: Last row, exclusive; the batch size where it is None.
        """
        stop = self.config.batch_size if stop is None else stop
        return self.rows_at(self.places(step, start, stop))

    def rows_at(self, places: Sequence[Place]) -> Rows:
        """Returns which samples lie at these places, in their order."""
        lengths = [len(place.positions) for place in places]
        begins = [lane_bounds(self.num_samples, self.config.lanes, p.lane, p.epoch)[0] + p.span.start for p in places]
        position = np.repeat(np.array(begins), lengths) + np.concatenate([place.positions for place in places])
        epoch = np.repeat(np.array([place.epoch for place in places], dtype=np.int64), lengths)
        shard, member = np.empty_like(position), np.empty_like(position)
        for one in {place.epoch for place in places}:
            order, ends = self._epoch(one)
            here = epoch == one
            k = np.searchsorted(ends, position[here], side="right")
            shard[here] = order[k]
            member[here] = position[here] - (ends[k] - self.counts[shard[here]])
        return Rows(epoch, shard, member, self.first_sample[shard] + member)

    def places(self, step: int, start: int, stop: int) -> list[Place]:
        """Returns where rows [start, stop) of batch `step` lie, in row order, one entry per window touched."""
        return self.places_of(self.lane_parts(step, start, stop))

    def stretches(self, step: int, start: int, stop: int) -> list[Stretch]:
        """Returns which windows rows [start, stop) of batch `step` lie in, in row order; cheap, nothing is shuffled for it."""
        return self.stretches_of(self.lane_parts(step, start, stop))

    def shuffled(self, epoch: int, lane: int, span: WindowSpan) -> tuple[Ints, Ints]:
        """Returns the window's shuffled order, of which every `Stretch` is a part: (positions, samples).

        Both int64 [span.length]: the position in the window, and the sample's number in the whole data set.
        """
        key = key64(self.config.seed, "window", epoch, lane, span.index)
        positions = permute(np.arange(span.length), span.length, key)
        return positions, self.rows_at([Place(epoch, lane, span, positions)]).sample

    def places_of(self, parts: Sequence[LanePart]) -> list[Place]:
        """Returns where parts of lanes lie, part after part, one entry per window touched."""
        stretches = self.stretches_of(parts)
        lengths = [last - first for _, _, _, first, last in stretches]
        unshuffled = np.concatenate([np.arange(first, last) for _, _, _, first, last in stretches])
        sizes = [span.length for _, _, span, _, _ in stretches]
        keys = [self._window_key(epoch, lane, span.index) for epoch, lane, span, _, _ in stretches]
        shuffled = np.split(permute_each(unshuffled, lengths, sizes, keys), np.cumsum(lengths)[:-1])
        return [Place(e, lane, span, here) for (e, lane, span, _, _), here in zip(stretches, shuffled, strict=True)]

    def lane_parts(self, step: int, start: int, stop: int) -> list[LanePart]:
        """Returns the parts of lanes that rows [start, stop) of batch `step` are, in row order."""
        share = self.config.batch_size // self.config.lanes
        return [
            LanePart(lane, step * share + max(start - lane * share, 0), step * share + min(stop - lane * share, share))
            for lane in range(start // share, (stop - 1) // share + 1)
        ]

    def replacement(self, epoch: int, sample: int, attempt: int) -> int:
        """Returns the sample that takes the place of a damaged one, see `replacement`."""
        return replacement(self.config.seed, epoch, sample, attempt, self.num_samples)

    def stretches_of(self, parts: Sequence[LanePart]) -> list[Stretch]:
        """Returns which windows parts of lanes lie in, part after part."""
        found = []
        for lane, position, end in parts:
            while position < end:
                start, stop, epoch, span = self._lane_window(lane, position)
                last = min(end, stop)
                found.append(Stretch(epoch, lane, span, position - start, last - start))
                position = last
        return found

    def segments(self, epoch: int, lane: int, span: WindowSpan) -> list[Segment]:
        """Returns the stretches of shards that a window consists of, in the order of its positions."""
        first, _ = lane_bounds(self.num_samples, self.config.lanes, lane, epoch)
        shards, ends = self._epoch(epoch)
        position, stop = first + span.start, first + span.stop
        found = []
        k = int(np.searchsorted(ends, position, side="right"))
        while position < stop:
            shard = int(shards[k])
            begin = int(ends[k]) - int(self.counts[shard])
            take = min(stop, int(ends[k])) - position
            if take:
                found.append(Segment(shard, position - begin, position - begin + take))
            position += take
            k += 1
        return found

    def _lane_window(self, lane: int, position: int) -> LaneWindow:
        # Every batch asks for each lane's window again, and for the one that is read ahead: the last two are kept.
        near, far = self._reached.get(lane, (_NOWHERE, _NOWHERE))
        if near.start <= position < near.stop:
            return near
        if not far.start <= position < far.stop:
            lanes, num_samples = self.config.lanes, self.num_samples
            epoch, begin = epoch_at(num_samples, lanes, lane, position)
            first, last = lane_bounds(num_samples, lanes, lane, epoch)
            span = window_at(position - begin, last - first, self.config.window, lanes, lane)
            far = LaneWindow(begin + span.start, begin + span.stop, epoch, span)
        self._reached[lane] = far, near
        return far

    def _window_key(self, epoch: int, lane: int, window: int) -> int:
        # Every batch asks for each lane's key again.
        known = self._window_keys.get(lane)
        if known is None or known[0] != (epoch, window):
            known = (epoch, window), key64(self.config.seed, "window", epoch, lane, window)
            self._window_keys[lane] = known
        return known[1]

    def _epoch(self, epoch: int) -> tuple[Ints, Ints]:
        """Returns the epoch's shard order and, for each place in it, the position after its last sample."""
        found = self._epochs.get(epoch)
        if found is None:
            order = permute(np.arange(len(self.counts)), len(self.counts), key64(self.config.seed, "shards", epoch))
            found = self._epochs[epoch] = (order, np.cumsum(self.counts[order]))
            # Threads that fetch windows ask as well: single operations on a plain dictionary, and no lock, which would not
            # travel to another process.
            for old in list(self._epochs)[:-_EPOCHS_KEPT]:
                self._epochs.pop(old, None)
        return found
