"""Samples from shards: any run of consecutive samples is one byte range, one read."""

from collections.abc import Sequence
from functools import partial
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.errors import SwissrollError
from pipeline.shards.fields import RawSample, check_digest
from pipeline.shards.index import ShardIndex, sample_digests, sample_offsets
from pipeline.shards.rereading import reread
from pipeline.shards.shard_range import ShardRange
from pipeline.storage import RangeCache

Place = tuple[int, int, int]
"""Samples of one shard: its position in `ShardIndex.shards`, the first sample from 0, and one past the last."""


def fetch_ranges(index: ShardIndex, places: Sequence[Place], cache: RangeCache | None = None) -> list[ShardRange]:
    """The bytes of some ranges of shards, each through one ranged read.

    Args:
        index: The data set.
        places: Which samples; ends are at most the shard's number of samples.
        cache: Where ranges are kept on this node.

    Raises:
        IndexError: A shard has no such samples.
        CorruptDataError: What the index keeps beside a shard is damaged, or the shard cannot be what it says.
        StorageError: A range could not be read.
    """
    numbers = [_numbers(index, *place) for place in places]
    memory = _memory(numbers) if cache is None else [None] * len(places)
    found: list[ShardRange] = []
    for (shard, _, _), (offsets, digests), into in zip(places, numbers, memory, strict=True):
        info = index.shards[shard]
        data = storage.read_range(info.url, offsets[0], offsets[-1], version=info.version, cache=cache, into=into)
        found.append(ShardRange(info.url, memoryview(data), offsets, digests))
    return found


def ranges_at_hand(index: ShardIndex, places: Sequence[Place]) -> list[ShardRange] | None:
    """As `fetch_ranges`, where all is in this machine's memory, what the index keeps beside the shards included.

    Args:
        index: The data set.
        places: Which samples.

    Returns:
        The ranges, or None where reading would wait, or anything is wrong.
    """
    infos = [index.shards[shard] for shard, _, _ in places]
    numbers: list[_Numbers] = []
    for place, info in zip(places, infos, strict=True):
        if not storage.is_local(info.url):
            return None
        try:
            known = index.offsets.at_hand(place[0], info.url, info.size_bytes, info.num_samples)
        except SwissrollError:  # told by whoever waits
            return None
        if known is None:
            return None
        numbers.append(_cut(*known, *place[1:]))
    memory, found = _memory(numbers), []
    for info, (offsets, digests), into in zip(infos, numbers, memory, strict=True):
        if not storage.range_at_hand(info.url, offsets[0], offsets[-1], into, version=info.version):
            return None
        found.append(ShardRange(info.url, into, offsets, digests))
    return found


def read_samples(index: ShardIndex, shard: int, start: int, stop: int, cache: RangeCache | None = None) -> list[RawSample]:
    """Samples start..stop-1 of one shard: exactly stop - start of them, in shard order, through one ranged read.

    Their fields are views into the one buffer that was read, which lives as long as any of them.

    Args:
        index: The data set.
        shard: Position in `index.shards`.
        start: First sample, from 0 within the shard.
        stop: One past the last sample, at most the shard's number of samples.
        cache: Where ranges are kept on this node.

    Raises:
        CorruptDataError: The shard does not hold these samples where the index says; named, with the offset.
        StorageError: The range could not be read.
    """
    samples = fetch_ranges(index, [(shard, start, stop)], cache)[0].samples()
    return [samples[number] for number in range(stop - start)]


def read_sound_samples(index: ShardIndex, shard: int, start: int, stop: int) -> list[RawSample]:
    """As `read_samples`, all of them with the checksums that they should have; one without is read once more.

    Args:
        index: The data set.
        shard: Position in `index.shards`.
        start: First sample, from 0 within the shard.
        stop: One past the last sample.

    Raises:
        CorruptDataError: As `read_samples`; or a sample has another checksum both times.
        StorageError: The shard could not be read.
    """
    samples = reread(lambda _: read_samples(index, shard, start, stop), "read_samples")

    def sound(number: int, is_first: bool) -> RawSample:
        sample = samples[number]
        if not is_first:
            (sample,) = read_samples(index, shard, start + number, start + number + 1)
        check_digest(sample)
        return sample

    return [reread(partial(sound, number), "read_samples") for number in range(len(samples))]


_Numbers = tuple[list[int], list[int] | None]
"""Where each sample begins, and where the last one ends; the checksum of each, where there are some."""


def _numbers(index: ShardIndex, shard: int, start: int, stop: int) -> _Numbers:
    info = index.shards[shard]
    if not 0 <= start <= stop <= info.num_samples:
        raise IndexError(f"samples [{start}, {stop}) of a shard with {info.num_samples} samples ({info.url})")
    if start == stop:
        return [0], None
    return _cut(sample_offsets(index, shard), sample_digests(index, shard), start, stop)


def _cut(offsets: NDArray[np.int64], digests: NDArray[np.uint64] | None, start: int, stop: int) -> _Numbers:
    return offsets[start : stop + 1].tolist(), None if digests is None else digests[start:stop].tolist()


def _memory(numbers: list[_Numbers]) -> list[memoryview]:
    """One buffer, cut up: windows are of about one size, so that one takes the place of another, but their parts are of any."""
    ends = [0, *accumulate(offsets[-1] - offsets[0] for offsets, _ in numbers)]
    whole = storage.buffer(ends[-1])
    return [whole[first:last] for first, last in pairwise(ends)]
