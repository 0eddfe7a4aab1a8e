"""The order itself: the samples of global batch k, for every k, from shard sizes, seed and batch size alone.

An epoch permutes the shards; laid end to end they form the epoch's sequence of N samples. Lanes cut that sequence, windows
shuffle inside lanes (see `lanes`). A lane runs through its part of epoch 0, then of epoch 1, and so on without end, so
every sample comes exactly once an epoch and every batch is full: where N is no multiple of the batch size, the batch
at the border takes its first rows from one epoch and its last from the next.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.order.keys import key64
from pipeline.order.lanes import WindowSpan, lane_bounds, window_at
from pipeline.order.permutation import permute
from pipeline.order.replacement import replacement

ORDER_VERSION = 1
_EPOCHS_KEPT = 2  # a batch touches at most two epochs when N >= batch size; more are computed again on demand

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderConfig:
    """What, besides the shards, decides the order."""

    seed: int
    """Seed of all shuffling."""
    batch_size: int
    """Samples of a global batch, over all ranks."""
    lanes: int
    """Places of the data set that each batch mixes; divides batch_size."""
    window: int
    """Samples shuffled with each other in a lane; lanes x window encoded samples are held in memory by all loaders together."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "lanes", "window"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.batch_size % self.lanes:
            raise ConfigError(f"lanes must divide the batch size {self.batch_size}, got {self.lanes}")


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive rows of a global batch; four int64 arrays of one length."""

    epoch: Ints
    """Epoch of each row, from 0."""
    shard: Ints
    """Shard number in the index."""
    member: Ints
    """Sample number in the shard."""
    sample: Ints
    """Number of the sample in the whole data set; its identity for keyed randomness."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Samples [start, stop) of one shard."""

    shard: int
    start: int
    stop: int


class Place(NamedTuple):
    """Where consecutive rows of a batch lie: all in one window."""

    epoch: int
    """Epoch of the rows."""
    lane: int
    """The lane that holds the window."""
    span: WindowSpan
    """The window."""
    positions: Ints
    """Row after row, the sample's position in the window, int64."""


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
        self._first_sample = np.concatenate(([0], np.cumsum(self.counts)))
        self._epochs: OrderedDict[int, tuple[Ints, Ints]] = OrderedDict()

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
        found = [self._lane_rows(lane, step, low, high) for lane, low, high in self.lane_parts(start, stop)]
        epoch, shard, member = (np.concatenate(columns) for columns in zip(*found, strict=True))
        return Rows(epoch, shard, member, self._first_sample[shard] + member)

    @property
    def num_lanes(self) -> int:
        """Lanes that a whole batch takes from; `Place.lane` is below it."""
        return self.config.lanes

    @property
    def seed(self) -> int:
        """Seed of the order."""
        return self.config.seed

    @property
    def batch_size(self) -> int:
        """Samples of a global batch."""
        return self.config.batch_size

    @property
    def steps_a_window(self) -> float:
        """Batches after which a lane has gone through a full window."""
        return self.config.window * self.config.lanes / self.config.batch_size

    def places(self, step: int, start: int, stop: int) -> list[Place]:
        """Returns where rows [start, stop) of batch `step` lie, in row order."""
        parts = self.lane_parts(start, stop)
        return [
            Place(epoch, lane, span, positions)
            for lane, low, high in parts
            for epoch, span, positions in self.window_places(lane, step, low, high)
        ]

    def replacement(self, epoch: int, sample: int, attempt: int) -> int:
        """Returns the sample that takes the place of a damaged one, see `replacement`."""
        return replacement(self.config.seed, epoch, sample, attempt, self.num_samples)

    def lane_parts(self, start: int, stop: int) -> list[tuple[int, int, int]]:
        """Returns (lane, first, last) for the lanes that rows [start, stop) touch; first and last count in the lane's share."""
        share = self.config.batch_size // self.config.lanes
        return [
            (lane, max(start - lane * share, 0), min(stop - lane * share, share))
            for lane in range(start // share, (stop - 1) // share + 1)
        ]

    def window_places(self, lane: int, step: int, low: int, high: int) -> list[tuple[int, WindowSpan, Ints]]:
        """Returns where a lane's share [low, high) of batch `step` lies: (epoch, window, positions after the shuffle).

        Positions count from the window's first sample, int64; entries come in row order, one per window touched.
        """
        first, last = lane_bounds(self.num_samples, self.config.lanes, lane)
        length = last - first
        share = self.config.batch_size // self.config.lanes
        position, end = step * share + low, step * share + high
        places = []
        while position < end:
            epoch, offset = divmod(position, length)
            span = window_at(offset, length, self.config.window, self.config.lanes, lane)
            take = min(end - position, span.stop - offset)
            unshuffled = np.arange(offset - span.start, offset - span.start + take)
            places.append((epoch, span, permute(unshuffled, span.length, self._window_key(epoch, lane, span.index))))
            position += take
        return places

    def segments(self, epoch: int, lane: int, span: WindowSpan) -> list[Segment]:
        """Returns the stretches of shards that a window consists of, in the order of its positions."""
        first, _ = lane_bounds(self.num_samples, self.config.lanes, lane)
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

    def _lane_rows(self, lane: int, step: int, low: int, high: int) -> tuple[Ints, Ints, Ints]:
        first, _ = lane_bounds(self.num_samples, self.config.lanes, lane)
        epochs, shards, members = [], [], []
        for epoch, span, shuffled in self.window_places(lane, step, low, high):
            order, ends = self._epoch(epoch)
            position = first + span.start + shuffled
            k = np.searchsorted(ends, position, side="right")
            shard = order[k]
            epochs.append(np.full(len(shuffled), epoch, dtype=np.int64))
            shards.append(shard)
            members.append(position - (ends[k] - self.counts[shard]))
        return np.concatenate(epochs), np.concatenate(shards), np.concatenate(members)

    def _window_key(self, epoch: int, lane: int, window: int) -> int:
        return key64(self.config.seed, "window", epoch, lane, window)

    def _epoch(self, epoch: int) -> tuple[Ints, Ints]:
        """Returns the epoch's shard order and, for each place in it, the position after its last sample."""
        if epoch not in self._epochs:
            order = permute(np.arange(len(self.counts)), len(self.counts), key64(self.config.seed, "shards", epoch))
            self._epochs[epoch] = (order, np.cumsum(self.counts[order]))
            while len(self._epochs) > _EPOCHS_KEPT:
                self._epochs.popitem(last=False)
        self._epochs.move_to_end(epoch)
        return self._epochs[epoch]
