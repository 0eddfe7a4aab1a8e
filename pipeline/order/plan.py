"""The order itself: the samples of global batch k, for every k, from shard sizes, seed and batch size alone.

An epoch permutes the shards; laid end to end they form the epoch's sequence of N samples. Lanes cut that sequence, windows
shuffle inside lanes (see `lanes`). A lane runs through its part of epoch 0, then of epoch 1, and so on without end, so
every sample comes exactly once an epoch and every batch is full: where N is no multiple of the batch size, the batch
at the border takes its first rows from one epoch and its last from the next.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.order.keys import key64
from pipeline.order.lanes import WindowSpan, lane_bounds, window_at
from pipeline.order.permutation import permute, permute_each

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
        self._epochs: dict[int, tuple[Ints, Ints]] = {}
        self._last_places: tuple[tuple[int, int, int], list[Place]] = (-1, 0, 0), []
        self._window_keys: dict[int, tuple[tuple[int, int], int]] = {}

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
        epochs, shards, members = [], [], []
        for place in self.places(step, start, stop):
            first, _ = lane_bounds(self.num_samples, self.config.lanes, place.lane)
            order, ends = self._epoch(place.epoch)
            position = first + place.span.start + place.positions
            k = np.searchsorted(ends, position, side="right")
            shard = order[k]
            epochs.append(np.full(len(position), place.epoch, dtype=np.int64))
            shards.append(shard)
            members.append(position - (ends[k] - self.counts[shard]))
        epoch, shard, member = np.concatenate(epochs), np.concatenate(shards), np.concatenate(members)
        return Rows(epoch, shard, member, self._first_sample[shard] + member)

    def places(self, step: int, start: int, stop: int) -> list[Place]:
        """Returns where rows [start, stop) of batch `step` lie, in row order, one entry per window touched."""
        if self._last_places[0] != (step, start, stop):  # asked for by `rows` and by whoever reads the windows
            stretches = list(self._stretches(step, start, stop))
            lengths = [last - first for _, _, _, first, last in stretches]
            unshuffled = np.concatenate([np.arange(first, last) for _, _, _, first, last in stretches])
            sizes = [span.length for _, _, span, _, _ in stretches]
            keys = [self._window_key(epoch, lane, span.index) for epoch, lane, span, _, _ in stretches]
            shuffled = np.split(permute_each(unshuffled, lengths, sizes, keys), np.cumsum(lengths)[:-1])
            places = [Place(e, lane, span, here) for (e, lane, span, _, _), here in zip(stretches, shuffled, strict=True)]
            self._last_places = ((step, start, stop), places)
        return self._last_places[1]

    def spans(self, step: int, start: int, stop: int) -> list[tuple[int, int, WindowSpan]]:
        """Returns (epoch, lane, window) for the windows that rows [start, stop) of batch `step` lie in, in row order."""
        return [(epoch, lane, span) for epoch, lane, span, _, _ in self._stretches(step, start, stop)]

    def lane_parts(self, start: int, stop: int) -> list[tuple[int, int, int]]:
        """Returns (lane, first, last) for the lanes that rows [start, stop) touch; first and last count in the lane's share."""
        share = self.config.batch_size // self.config.lanes
        return [
            (lane, max(start - lane * share, 0), min(stop - lane * share, share))
            for lane in range(start // share, (stop - 1) // share + 1)
        ]

    def _stretches(self, step: int, start: int, stop: int) -> Iterator[tuple[int, int, WindowSpan, int, int]]:
        """Yields (epoch, lane, window, first, last): consecutive positions of a window before its shuffle."""
        for lane, low, high in self.lane_parts(start, stop):
            lane_first, lane_last = lane_bounds(self.num_samples, self.config.lanes, lane)
            share = self.config.batch_size // self.config.lanes
            position, end = step * share + low, step * share + high
            while position < end:
                epoch, offset = divmod(position, lane_last - lane_first)
                span = window_at(offset, lane_last - lane_first, self.config.window, self.config.lanes, lane)
                take = min(end - position, span.stop - offset)
                yield epoch, lane, span, offset - span.start, offset - span.start + take
                position += take

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
