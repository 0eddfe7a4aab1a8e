"""An index made from the shards themselves, by reading their headers."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from pipeline.errors import ConfigError
from pipeline.shards.index import DatasetMeta, Progress, ShardIndex, ShardInfo
from pipeline.shards.offsets import MemoryOffsets, scan_shard
from pipeline.shards.places import base_name, folder_of, look_up

_THREADS = 8  # hides the latency of a remote store; the parsing itself takes one core


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
    infos = look_up(urls)
    for url, info in zip(urls, infos, strict=True):
        if info is None:
            raise ConfigError(f"got the shard {url}, but there is no such object")
    found = [info for info in infos if info is not None]
    scans = []
    pool = ThreadPoolExecutor(_THREADS)
    try:
        for scan in pool.map(lambda pair: scan_shard(pair[0], pair[1].size), zip(urls, found, strict=True)):
            scans.append(scan)
            if progress is not None:
                progress(len(scans), len(urls))
    finally:
        pool.shutdown(cancel_futures=True)
    shards = tuple(
        ShardInfo(url=url, num_samples=len(scan.offsets) - 1, size_bytes=info.size, digest=scan.digest, version=info.version)
        for url, info, scan in zip(urls, found, scans, strict=True)
    )
    return ShardIndex(
        name=name or base_name(folder_of(urls[0])),
        shards=shards,
        offsets=MemoryOffsets(tuple(scan.offsets for scan in scans)),
        meta=meta or DatasetMeta(),
    )
