"""Checksums of samples, kept beside the index: they tell bytes that changed on their way, or on a disk, and still decode.

XXH3 of 64 bits over the sample's stretch of the shard, headers and padding included.
"""

import hashlib
import re
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from pipeline import storage
from pipeline.errors import CorruptDataError
from pipeline.shards.rereading import MAX_READS

DIGESTS_NAME = "index.xxh3.npy"
"""The name, beside the index, of the sidecar that holds checksums."""

PIECE_BYTES = 16 * 2**20
"""A shard is read for its checksums in pieces of about this size."""

_MD5 = re.compile("[0-9a-f]{32}")


def digest_samples(data: bytes | memoryview, offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """uint64 [samples]: the checksum of each sample.

    Args:
        data: Bytes of a shard from the first sample on.
        offsets: int64 [samples + 1]: where samples begin in the shard, and where the last one ends.
    """
    view, at = memoryview(data), (offsets - offsets[0]).tolist()
    found = (xxhash.xxh3_64_intdigest(view[first:last]) for first, last in pairwise(at))
    return np.fromiter(found, np.uint64, len(at) - 1)


class WholeShard(NamedTuple):
    """What all bytes of a shard tell."""

    md5: str
    """MD5 of them, 32 hex digits; empty where nobody needs it."""
    digests: NDArray[np.uint64]
    """uint64 [num_samples]: the checksum of each sample."""


def digest_shard(
    url: str, size_bytes: int, offsets: NDArray[np.int64], version: str = "", with_md5: bool = False
) -> WholeShard:
    """The checksum of each sample of a shard, all of which is read.

    A bit that flips on its way would condemn a sound sample for ever. So where the version looks like an MD5, as the ETags of
    objects that were put in one piece on S3 do, it has to be that of the bytes, or two readings have to be alike (it is no MD5
    where S3 encrypts with its key service); so have two readings over http without TLS. Elsewhere, one reading is believed.

    Args:
        url: The shard.
        size_bytes: Its size.
        offsets: int64 [num_samples + 1].
        version: The version of it that is meant; any where it is empty.
        with_md5: Whether the MD5 is wanted in any case.

    Raises:
        CorruptDataError: Of `MAX_READS` readings no two are alike, and none has the MD5 that the version states.
        StorageError: It could not be read, or is of another version.
    """
    stated = version if _MD5.fullmatch(version) else ""
    is_doubtful = bool(stated) or url.startswith("http://")
    met: list[str] = []
    for _ in range(MAX_READS):
        found = _read_whole(url, size_bytes, offsets, version, with_md5 or is_doubtful)
        if not is_doubtful or found.md5 == stated or found.md5 in met:
            return found
        met.append(found.md5)
        if stated or len(met) > 1:  # otherwise no attempt failed, and the second reading is the rule
            storage.count("retries", "digest_shard")
    expected = f"two alike, or the ETag {stated}" if stated else "two alike"
    raise CorruptDataError(f"{MAX_READS} readings have the MD5s {', '.join(met)}, expected {expected}", url)


def _read_whole(url: str, size_bytes: int, offsets: NDArray[np.int64], version: str, with_md5: bool) -> WholeShard:
    md5 = hashlib.md5(usedforsecurity=False)

    def read(first: int, last: int) -> memoryview:
        data = memoryview(storage.read_range(url, first, last, version=version))
        if with_md5:
            md5.update(data)
        return data

    if with_md5:  # what belongs to no sample counts only there
        read(0, int(offsets[0]))
    pieces, first, last = [], 0, len(offsets) - 1
    while first < last:
        stop = max(first + 1, int(np.searchsorted(offsets, offsets[first] + PIECE_BYTES, side="right")) - 1)
        pieces.append(digest_samples(read(int(offsets[first]), int(offsets[stop])), offsets[first : stop + 1]))
        first = stop
    for at in range(int(offsets[-1]), size_bytes if with_md5 else 0, PIECE_BYTES):
        read(at, min(at + PIECE_BYTES, size_bytes))
    return WholeShard(md5.hexdigest() if with_md5 else "", np.concatenate(pieces))
