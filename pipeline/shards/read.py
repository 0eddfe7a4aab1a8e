"""Samples from shards: any run of consecutive samples is one byte range, one read."""

import sys
from itertools import repeat
from typing import cast

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.errors import CorruptDataError
from pipeline.shards.fields import RawSample
from pipeline.shards.grouping import group_members, split_name
from pipeline.shards.index import ShardIndex, sample_offsets
from pipeline.shards.same_fields import same_fields
from pipeline.shards.tar_columns import Members, walk_samples
from pipeline.shards.tar_walk import walk_tar
from pipeline.storage import RangeCache


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
    info = index.shards[shard]
    if not 0 <= start <= stop <= info.num_samples:
        raise IndexError(f"samples [{start}, {stop}) of a shard with {info.num_samples} samples ({info.url})")
    if start == stop:
        return []
    offsets = sample_offsets(index, shard)
    first, last = int(offsets[start]), int(offsets[stop])
    data = memoryview(storage.read_range(info.url, first, last, version=info.version, cache=cache))
    samples = _plain_samples(data, offsets[start : stop + 1] - first, info.url, first)
    if samples is not None:
        return samples
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


def _plain_samples(data: memoryview, begins: NDArray[np.int64], uri: str, first: int) -> list[RawSample] | None:
    """The samples by the fast walk, or None where `walk_tar` and `group_members` must say what they are, or what is wrong."""
    found = walk_samples(data, begins)
    if found is None:
        return None
    named = same_fields(found, len(begins) - 1)
    if named is None:
        return _unlike_samples(data, found, begins, uri, first)
    keys, names = named
    columns = [[data[start:stop] for start, stop in zip(m.starts, m.stops, strict=True)] for m in found]
    fields = [dict(zip(names, views, strict=True)) for views in zip(*columns, strict=True)]
    return list(map(RawSample, keys, fields, repeat(uri), (begins[:-1] + first).tolist()))


def _unlike_samples(
    data: memoryview, found: list[Members], begins: NDArray[np.int64], uri: str, first: int
) -> list[RawSample] | None:
    """The samples, each with fields of its own; None as above."""
    keys: list[str | None] = [None] * (len(begins) - 1)
    fields: list[dict[str, memoryview]] = [{} for _ in keys]
    for members in found:
        for row, name, start, stop in zip(*members, strict=True):
            parts = split_name(name.decode("utf-8", "surrogateescape"))
            if parts is None:
                return None
            key, field = parts[0], sys.intern(parts[1])
            known = keys[row]
            if known is None:
                keys[row] = key
            elif known != key or field in fields[row]:
                return None
            fields[row][field] = data[start:stop]
    if None in keys or len(set(keys)) < len(keys):
        return None
    return list(map(RawSample, cast(list[str], keys), fields, repeat(uri), (begins[:-1] + first).tolist()))
