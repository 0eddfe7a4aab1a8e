"""An index made from the shards themselves, by reading their headers."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.shards.digests import digest_shard
from pipeline.shards.index import DatasetMeta, Progress, ShardIndex, ShardInfo
from pipeline.shards.offsets import MemoryOffsets
from pipeline.shards.places import base_name, folder_of, look_up
from pipeline.shards.scan import sound_scan
from pipeline.shards.tar_end import is_usual_end
from pipeline.storage import ObjectInfo

_log = logging.getLogger(__name__)
_THREADS = 8  # hides the latency of a remote store; the parsing itself takes one core


@dataclass(frozen=True, slots=True)
class IndexedShard:
    """One shard's part of an index."""

    info: ShardInfo
    """What the index says of it."""
    offsets: NDArray[np.int64]
    """int64 [num_samples + 1]: where its samples begin, and where the last one ends."""
    digests: NDArray[np.uint64] | None
    """uint64 [num_samples]: their checksums, where these were asked for."""
    marker: int = -1
    """Where its end marker begins, in bytes; -1 where that is not known."""


def index_shard(url: str, found: ObjectInfo, whole: bool = False, checksums: bool = False) -> IndexedShard:
    """One shard's part of an index, from its headers; what is damaged or odd is read again before it counts.

    Args:
        url: The shard.
        found: What the store says of it.
        whole: Whether to read all of it and take the digest of its bytes, as `pack` does.
        checksums: Whether to read all of it and take a checksum of every sample.

    Raises:
        CorruptDataError: The shard is no tar, was cut, has no samples, or breaks the grouping rule.
        StorageError: It could not be read.
    """
    scan = sound_scan(url, found.size)
    samples = len(scan.offsets) - 1
    digest, digests = scan.digest, None
    if whole or checksums:
        md5, digests = digest_shard(url, found.size, scan.offsets, found.version, with_md5=whole)
        digest = f"md5:{md5}" if whole else digest
    info = ShardInfo(url=url, num_samples=samples, size_bytes=found.size, digest=digest, version=found.version)
    return IndexedShard(info, scan.offsets, digests if checksums else None, scan.marker)


def found_shards(urls: Sequence[str]) -> list[ObjectInfo]:
    """What the store says of each shard.

    Raises:
        ConfigError: A shard is missing.
        StorageError: The store could not be asked.
    """
    infos = look_up(urls)
    for url, info in zip(urls, infos, strict=True):
        if info is None:
            raise ConfigError(f"got the shard {url}, but there is no such object")
    return [info for info in infos if info is not None]


def join_shards(parts: Sequence[IndexedShard], *, name: str | None = None, meta: DatasetMeta | None = None) -> ShardIndex:
    """The data set that indexed shards make, in this order; a line in the log says how many end oddly.

    Args:
        parts: At least one.
        name: What to call the data set; by default the name of the first shard's folder.
        meta: Class names and image shape, where known.
    """
    odd = [part for part in parts if part.marker >= 0 and not is_usual_end(part.marker, part.info.size_bytes)]
    if odd:
        _log.warning(
            "%d of %d shards end with more zeros than tar writers leave: a hole may have taken their last members, check how "
            "many files they should have; the first is %s, zeros from byte %d to %d",
            *(len(odd), len(parts), odd[0].info.url, odd[0].marker, odd[0].info.size_bytes),
        )
    digests = tuple(part.digests for part in parts if part.digests is not None)
    return ShardIndex(
        name=name or base_name(folder_of(parts[0].info.url)),
        shards=tuple(part.info for part in parts),
        offsets=MemoryOffsets(tuple(part.offsets for part in parts), digests if len(digests) == len(parts) else None),
        meta=meta or DatasetMeta(),
    )


def build_index(
    urls: Sequence[str], *, name: str | None = None, meta: DatasetMeta | None = None, progress: Progress | None = None
) -> ShardIndex:
    """The data set that these shards make, its offsets in memory.

    Only headers are read: a small shard in one piece, a large one in pieces that leave long data out.

    Args:
        urls: Absolute URLs of the shards, in the data set's order (`expand_shards`).
        name: What to call the data set; by default the name of the first shard's folder.
        meta: Class names and image shape, where known.
        progress: Called as (shards done, shards in all).

    Raises:
        ConfigError: A shard is missing.
        CorruptDataError: A shard is no tar, was cut, has no samples, or breaks the grouping rule; named, with the offset.
        StorageError: A shard could not be read.
    """
    found = found_shards(urls)
    parts = []
    pool = ThreadPoolExecutor(_THREADS)
    try:
        for part in pool.map(index_shard, urls, found):
            parts.append(part)
            if progress is not None:
                progress(len(parts), len(urls))
    finally:
        pool.shutdown(cancel_futures=True)
    return join_shards(parts, name=name, meta=meta)
