"""Where a shard's samples begin, from its headers; what came damaged or looks odd is read again before it is believed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.errors import CorruptDataError
from pipeline.shards.grouping import group_members
from pipeline.shards.rereading import MAX_READS
from pipeline.shards.tar_end import is_usual_end
from pipeline.shards.tar_walk import BLOCK_BYTES, CHUNK_BYTES, Member, walk_tar_ranges


@dataclass(frozen=True, slots=True, eq=False)
class ShardScan:
    """What the headers of one shard tell."""

    offsets: NDArray[np.int64]
    """int64 [num_samples + 1]: where each sample begins and, last, where the last one ends, padding included."""

    digest: str
    """Stands for the list of the members' names and exact sizes."""

    marker: int = -1
    """Where the end marker begins, in bytes; -1 where that is not known."""


def scan_members(members: Sequence[Member], uri: str) -> ShardScan:
    """Where the samples of a shard begin, and what its members are.

    Args:
        members: The shard's members, in order.
        uri: The shard, for error messages.

    Raises:
        CorruptDataError: The shard has no samples, or its members break the grouping rule.
    """
    starts: list[int] = []
    end = 0
    for _, header_offset, fields in group_members(members, uri):
        starts.append(header_offset)
        _, data_offset, size = fields[-1]
        end = data_offset + (size + BLOCK_BYTES - 1) // BLOCK_BYTES * BLOCK_BYTES
    if not starts:
        raise CorruptDataError("shard has no samples, expected files named like 'key.png'", uri)
    text = "".join(f"{name}\0{size}\n" for name, _, size, _ in members)
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return ShardScan(np.array([*starts, end], np.int64), f"members:{digest}")


def scan_shard(url: str, size_bytes: int, chunk_bytes: int = CHUNK_BYTES) -> ShardScan:
    """As `scan_members`, from the shard itself: only its headers are looked at.

    Args:
        url: The shard.
        size_bytes: Its size.
        chunk_bytes: How much one ranged read asks for; a shard up to this size is read at once.

    Raises:
        CorruptDataError: The shard is no sound tar, has no samples, or breaks the grouping rule.
        StorageError: It could not be read.
    """
    if size_bytes == 0:
        raise CorruptDataError("shard has 0 bytes, expected a tar", url)
    markers: list[int] = []
    read = partial(storage.read_range, url)
    walk = walk_tar_ranges(read, size_bytes, url, chunk_bytes=chunk_bytes, at_end=markers.append)
    return replace(scan_members(list(walk), url), marker=markers[0])


def sound_scan(url: str, size_bytes: int, num_samples: int | None = None) -> ShardScan:
    """As `scan_shard`, by one reading where nothing is odd about it.

    After a reading that finds damage, or an end with more zeros than tar writers leave, only what two readings tell alike
    counts: either may have come about on the way. Damage that both tell is in the shard, and so are its zeros.

    Args:
        url: The shard.
        size_bytes: Its size.
        num_samples: How many samples it should have; any number where it is None.

    Raises:
        CorruptDataError: The same damage twice, or no two of `MAX_READS` readings are alike.
        StorageError: The shard could not be read.
    """
    met: set[str] = set()
    told = ""
    for _ in range(MAX_READS):
        try:
            scan = scan_shard(url, size_bytes)
            found = len(scan.offsets) - 1
            if num_samples not in (None, found):
                raise CorruptDataError(f"shard has {found} samples, its index says {num_samples}", url)
            if not met and is_usual_end(scan.marker, size_bytes):
                return scan
            told = f"{scan.digest} {scan.marker} {scan.offsets.tolist()}"
            if told in met:
                return scan
        except CorruptDataError as error:
            told = str(error)
            if told in met:
                raise
        met.add(told)
        storage.count("retries", "scan_shard")
    raise CorruptDataError(
        f"{MAX_READS} readings of the shard's headers differ from each other, the last told: {told[:500]}", url
    )
