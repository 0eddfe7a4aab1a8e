"""Samples from shards: any run of consecutive samples is one byte range, one read."""

import sys
from functools import partial
from itertools import pairwise, repeat
from typing import cast

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.errors import CorruptDataError
from pipeline.shards.fields import RawSample, check_digest
from pipeline.shards.grouping import group_members, split_name
from pipeline.shards.index import ShardIndex, sample_digests, sample_offsets
from pipeline.shards.rereading import reread
from pipeline.shards.same_fields import same_fields
from pipeline.shards.tar_columns import Members, walk_samples
from pipeline.shards.tar_walk import walk_tar
from pipeline.storage import RangeCache

_Named = tuple[list[str], list[dict[str, memoryview]]]  # keys and fields, one of each a sample


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
    return _read(index, shard, start, stop, cache)


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


def _read(index: ShardIndex, shard: int, start: int, stop: int, cache: RangeCache | None) -> list[RawSample]:
    info, offsets = index.shards[shard], sample_offsets(index, shard)
    first, last = int(offsets[start]), int(offsets[stop])
    data = memoryview(storage.read_range(info.url, first, last, version=info.version, cache=cache))
    begins = offsets[start : stop + 1] - first
    keys, fields = _plain_samples(data, begins) or _odd_samples(data, begins, info.url, first)
    digests = sample_digests(index, shard)
    at = begins.tolist()
    stretches = [data[begin:end] for begin, end in pairwise(at)]
    expected = repeat(None) if digests is None else digests[start:stop].tolist()
    return list(map(RawSample, keys, fields, repeat(info.url), offsets[start:stop].tolist(), stretches, expected))


def _odd_samples(data: memoryview, begins: NDArray[np.int64], uri: str, first: int) -> _Named:
    """The samples by the careful walk, which has the last word."""
    members = walk_tar(data, uri, start=first, has_end_marker=False)
    keys, fields, found = [], [], []
    for key, begin, spans in group_members(members, uri):
        keys.append(key)
        fields.append({field: data[at - first : at - first + size] for field, at, size in spans})
        found.append(begin - first)
    if found != begins[:-1].tolist():
        raise CorruptDataError(
            f"bytes {first} to {first + len(data)} hold {len(keys)} samples, not the {len(begins) - 1} that the index says, or "
            "elsewhere",
            uri,
            first,
        )
    return keys, fields


def _plain_samples(data: memoryview, begins: NDArray[np.int64]) -> _Named | None:
    """The samples by the fast walk, or None where `walk_tar` and `group_members` must say what they are, or what is wrong."""
    found = walk_samples(data, begins)
    if found is None:
        return None
    named = same_fields(found, len(begins) - 1)
    if named is None:
        return _unlike_samples(data, found, len(begins) - 1)
    keys, names = named
    columns = [[data[start:stop] for start, stop in zip(m.starts, m.stops, strict=True)] for m in found]
    return keys, [dict(zip(names, views, strict=True)) for views in zip(*columns, strict=True)]


def _unlike_samples(data: memoryview, found: list[Members], count: int) -> _Named | None:
    """The samples, each with fields of its own; None as above."""
    keys: list[str | None] = [None] * count
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
    return cast(list[str], keys), fields
