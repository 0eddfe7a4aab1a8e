"""Samples from shards: any run of consecutive samples is one byte range, one read."""

from pipeline import storage
from pipeline.errors import CorruptDataError
from pipeline.shards.fields import RawSample
from pipeline.shards.grouping import group_members
from pipeline.shards.index import ShardIndex, sample_offsets
from pipeline.shards.tar_walk import walk_tar


def read_samples(index: ShardIndex, shard: int, start: int, stop: int) -> list[RawSample]:
    """Samples start..stop-1 of one shard: exactly stop - start of them, in shard order, through one ranged read.

    Their fields are views into the one buffer that was read, which lives as long as any of them.

    Args:
        index: The data set.
        shard: Position in `index.shards`.
        start: First sample, from 0 within the shard.
        stop: One past the last sample, at most the shard's number of samples.

    Raises:
        CorruptDataError: The shard does not hold these samples where the index says; named, with the offset.
        StorageError: The range could not be read.
    """
    info = index.shards[shard]
    if not 0 <= start <= stop <= info.num_samples:
        raise IndexError(f"samples [{start}, {stop}) of a shard with {info.num_samples} samples ({info.url})")
    if start == stop:
        return []
    offsets = sample_offsets(index, shard)
    first, last = int(offsets[start]), int(offsets[stop])
    data = memoryview(storage.read_range(info.url, first, last, version=info.version))
    samples = [
        RawSample(key, {field: data[at - first : at - first + size] for field, at, size in spans}, info.url, begins)
        for key, begins, spans in group_members(walk_tar(data, info.url, start=first, has_end_marker=False), info.url)
    ]
    if [sample.offset for sample in samples] != offsets[start:stop].tolist():
        raise CorruptDataError(
            f"bytes {first} to {last} hold {len(samples)} samples, not the {stop - start} that the index says, or elsewhere",
            info.url,
            first,
        )
    return samples
