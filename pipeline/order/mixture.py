"""Several data sets in exact proportions: which rows of which batch come from which of them, and in what order.

Of the first n samples of the stream, data set j gives taken(n)[j]: weights are whole numbers, shares are rounded down one data
set after another, and what remains goes to the next ones. So shares never drift: after any number of samples each data set is
within one sample per data set of its part, and after every multiple of the weights' sum it is exact. A batch takes the
difference between two such counts. Each data set has its own lanes, windows and epochs, and runs through them without end;
the position in each is a function of the batch number, so a mixture resumes by the same one cursor.

Inside a batch, rows stand data set by data set and in each lane by lane, so that a slice of the batch needs few lanes.
"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.errors import ConfigError
from pipeline.order.answers import Ints, LanePart, Place, Rows, Segment, Stretch
from pipeline.order.lanes import WindowSpan
from pipeline.order.plan import ORDER_VERSION, StreamOrder


class MixtureOrder:
    """The order of samples of several data sets, mixed by weight.

    Shards and samples are numbered through all data sets, and so are lanes.

    Args:
        sources: The order of each data set; in all of them one batch takes one sample from each lane (`batch_size == lanes`).
        weights: Whole number at least 1 for each data set: samples of it in every sum(weights) samples.
        batch_size: Samples of a global batch.
        seed: Seed of the run, for what else is drawn for a sample.

    Raises:
        ConfigError: No data sets, not one weight for each, a weight below 1, or a batch size below 1.
    """

    def __init__(self, sources: Sequence[StreamOrder], weights: Sequence[int], batch_size: int, seed: int) -> None:
        if not sources or len(sources) != len(weights) or min(weights) < 1 or batch_size < 1:
            raise ConfigError(
                f"got {len(sources)} data sets with the weights {list(weights)} and batches of {batch_size}, "
                "expected one weight of at least 1 for each and at least 1 sample a batch"
            )
        if any(source.config.batch_size != source.config.lanes for source in sources):
            raise ConfigError("the orders in a mixture take one sample from each lane")
        self.sources, self.weights = tuple(sources), tuple(weights)
        self.batch_size, self.seed = batch_size, seed
        self.window = max(source.window for source in sources)
        self.num_samples = sum(source.num_samples for source in sources)
        self.num_lanes = sum(source.num_lanes for source in sources)
        self._first_lane = _starts([source.num_lanes for source in sources])
        self._first_shard = _starts([len(source.counts) for source in sources])
        self._first_sample = _starts([source.num_samples for source in sources])

    def fingerprint(self, index_fingerprint: str) -> str:
        """Returns a hex digest of everything that decides the order, to be kept with a `Cursor`."""
        orders = [source.fingerprint("") for source in self.sources]
        text = f"mixture {ORDER_VERSION} {index_fingerprint} {self.batch_size} {self.weights} {orders}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def taken(self, num_samples: int) -> list[int]:
        """Returns how many of the stream's first samples come from each data set; their sum is `num_samples`."""
        counts, rest, rest_weight = [], num_samples, sum(self.weights)
        for weight in self.weights:
            counts.append(rest * weight // rest_weight)
            rest, rest_weight = rest - counts[-1], rest_weight - weight
        return counts

    @property
    def steps_a_window(self) -> float:
        """Batches after which the fastest lane has gone through a full window."""
        whole, pairs = sum(self.weights), zip(self.sources, self.weights, strict=True)
        return min(source.window * source.num_lanes * whole / weight for source, weight in pairs) / self.batch_size

    def epochs_at(self, step: int) -> float:
        """Returns how many passes lie before batch `step`, over the data set that is farthest."""
        taken = self.taken(step * self.batch_size)
        return max(count / source.num_samples for count, source in zip(taken, self.sources, strict=True))

    def rows(self, step: int, start: int = 0, stop: int | None = None) -> Rows:
        """Returns rows [start, stop) of global batch `step`, as `StreamOrder.rows` does."""
        found = []
        for number, parts in self._parts(step, start, self.batch_size if stop is None else stop):
            rows = self.sources[number].rows_at(self.sources[number].places_of(parts))
            shard, sample = rows.shard + self._first_shard[number], rows.sample + self._first_sample[number]
            found.append((rows.epoch, shard, rows.member, sample))
        return Rows(*(np.concatenate(column) for column in zip(*found, strict=True)))

    def places(self, step: int, start: int, stop: int) -> list[Place]:
        """Returns where rows [start, stop) of batch `step` lie, in row order, one entry per window touched."""
        return [
            place._replace(lane=place.lane + int(self._first_lane[number]))
            for number, parts in self._parts(step, start, stop)
            for place in self.sources[number].places_of(parts)
        ]

    def stretches(self, step: int, start: int, stop: int) -> list[Stretch]:
        """Returns which windows rows [start, stop) of batch `step` lie in, as `StreamOrder.stretches` does."""
        return [
            stretch._replace(lane=stretch.lane + int(self._first_lane[number]))
            for number, parts in self._parts(step, start, stop)
            for stretch in self.sources[number].stretches_of(parts)
        ]

    def shuffled(self, epoch: int, lane: int, span: WindowSpan) -> tuple[Ints, Ints]:
        """Returns a window's shuffled order as positions and samples, as `StreamOrder.shuffled` does."""
        number = self._source(lane)
        positions, samples = self.sources[number].shuffled(epoch, lane - int(self._first_lane[number]), span)
        return positions, samples + self._first_sample[number]

    def segments(self, epoch: int, lane: int, span: WindowSpan) -> list[Segment]:
        """Returns the stretches of shards that a window consists of, in the order of its positions."""
        source = self._source(lane)
        shift = int(self._first_shard[source])
        found = self.sources[source].segments(epoch, lane - int(self._first_lane[source]), span)
        return [Segment(segment.shard + shift, segment.start, segment.stop) for segment in found]

    def replacement(self, epoch: int, sample: int, attempt: int) -> int:
        """Returns the sample, of the same data set, that takes the place of a damaged one."""
        source = int(np.searchsorted(self._first_sample, sample, side="right")) - 1
        shift = int(self._first_sample[source])
        return self.sources[source].replacement(epoch, sample - shift, attempt) + shift

    def _source(self, lane: int) -> int:
        """Returns which data set a lane belongs to."""
        return int(np.searchsorted(self._first_lane, lane, side="right")) - 1

    def _parts(self, step: int, start: int, stop: int) -> Iterator[tuple[int, list[LanePart]]]:
        """Yields (data set, parts of its lanes) for rows [start, stop) of batch `step`, in row order."""
        before, after = self.taken(step * self.batch_size), self.taken((step + 1) * self.batch_size)
        row = 0
        for number, (source, a, b) in enumerate(zip(self.sources, before, after, strict=True)):
            lanes, parts = source.num_lanes, []
            for lane in range(lanes):
                # The data set's samples a..b-1 go round the lanes: this one has those with q % lanes == lane.
                first, last = -(-(a - lane) // lanes), -(-(b - lane) // lanes)
                low, high = max(start - row, 0), min(stop - row, last - first)
                if low < high:
                    parts.append(LanePart(lane, first + low, first + high))
                row += last - first
            if parts:
                yield number, parts


def _starts(counts: Sequence[int]) -> Ints:
    return np.concatenate(([0], np.cumsum(counts)[:-1])).astype(np.int64)
