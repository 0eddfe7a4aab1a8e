"""A range of a shard: the bytes of consecutive samples, and the samples in them."""

import sys
from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CorruptDataError
from pipeline.shards.fields import RawSample
from pipeline.shards.grouping import group_members, split_name
from pipeline.shards.same_fields import same_fields
from pipeline.shards.tar_columns import Members, walk_samples
from pipeline.shards.tar_walk import walk_tar

_Named = tuple[list[str], Callable[[int], Mapping[str, memoryview]]]  # keys, and the fields of each sample


class ShardRange:
    """The bytes of consecutive samples, before anybody has looked what they are.

    Args:
        uri: The shard.
        data: The bytes.
        offsets: Where in the shard each sample should begin, and where the last one ends; rising.
        digests: XXH3 of 64 bits that each should have; None where the index has no checksums.
    """

    def __init__(self, uri: str, data: memoryview, offsets: list[int], digests: list[int] | None) -> None:
        self.uri, self.data, self.offsets, self.digests = uri, data, offsets, digests

    def samples(self) -> "RangeSamples":
        """The samples in it.

        Raises:
            CorruptDataError: They are not those that the index names there; named, with the offset.
        """
        if not self.data:
            return RangeSamples(self, [], {}.__getitem__)
        first = self.offsets[0]
        begins = np.array(self.offsets) - first
        named = _plain_samples(self.data, begins) or _odd_samples(self.data, begins, self.uri, first)
        return RangeSamples(self, *named)


class RangeSamples:
    """Consecutive samples of a shard, each made when it is asked for: those of all windows at hand would be tens of thousands
    of objects that Python looks through for cycles again and again. Their fields are views into the bytes of the range, which
    live as long as any of them.

    Args:
        fetched: Their bytes.
        keys: The key of each.
        fields: The fields of each, by its number.
    """

    def __init__(self, fetched: ShardRange, keys: list[str], fields: Callable[[int], Mapping[str, memoryview]]) -> None:
        self._keys, self._fields = keys, fields
        self._uri, self._data, self._offsets, self._digests = fetched.uri, fetched.data, fetched.offsets, fetched.digests

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, number: int) -> RawSample:
        """Sample `number`, from 0."""
        offset, end = self._offsets[number], self._offsets[number + 1]
        first, digests = self._offsets[0], self._digests
        digest = None if digests is None else digests[number]
        data = self._data[offset - first : end - first]
        return RawSample(self._keys[number], self._fields(number), self._uri, offset, data, digest)


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
    return keys, fields.__getitem__


def _plain_samples(data: memoryview, begins: NDArray[np.int64]) -> _Named | None:
    """The samples by the fast walk, or None where `walk_tar` and `group_members` must say what they are, or what is wrong."""
    found = walk_samples(data, begins)
    if found is None:
        return None
    named = same_fields(found, len(begins) - 1)
    if named is None:
        return _unlike_samples(data, found, len(begins) - 1)
    keys, names = named
    columns = [(name, members.starts, members.stops) for name, members in zip(names, found, strict=True)]
    return keys, lambda number: {name: data[starts[number] : stops[number]] for name, starts, stops in columns}


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
    return cast(list[str], keys), fields.__getitem__
