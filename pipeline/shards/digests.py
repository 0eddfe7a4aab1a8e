"""Checksums of samples, kept beside the index: they tell bytes that changed on their way, or on a disk, and still decode.

XXH3 of 64 bits over the sample's stretch of the shard, headers and padding included. After those of a shard its sidecar holds
the checksum of them all.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import xxhash
from numpy.typing import NDArray

from pipeline import storage
from pipeline.errors import CorruptDataError
from pipeline.shards.rereading import reread
from pipeline.shards.sidecar import encode_sidecar, forget_sidecars, read_sidecar

DIGESTS_NAME = "index.xxh3.npy"
"""The name, beside the index, of the sidecar that holds checksums."""

PIECE_BYTES = 16 * 2**20
"""A shard is read for its checksums in pieces of about this size."""


def digest_samples(data: bytes | memoryview, offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """uint64 [samples]: the checksum of each sample.

    Args:
        data: Bytes of a shard from the first sample on.
        offsets: int64 [samples + 1]: where samples begin in the shard, and where the last one ends.
    """
    view, at = memoryview(data), (offsets - offsets[0]).tolist()
    found = (xxhash.xxh3_64_intdigest(view[first:last]) for first, last in pairwise(at))
    return np.fromiter(found, np.uint64, len(at) - 1)


def digest_shard(url: str, offsets: NDArray[np.int64], version: str = "") -> NDArray[np.uint64]:
    """uint64 [num_samples]: the checksum of each sample of a shard, all of which is read.

    Args:
        url: The shard.
        offsets: int64 [num_samples + 1].
        version: The version of it that is meant; any where it is empty.

    Raises:
        StorageError: It could not be read, or is of another version.
    """
    pieces, first, last = [], 0, len(offsets) - 1
    while first < last:
        stop = max(first + 1, int(np.searchsorted(offsets, offsets[first] + PIECE_BYTES, side="right")) - 1)
        data = storage.read_range(url, int(offsets[first]), int(offsets[stop]), version=version)
        pieces.append(digest_samples(memoryview(data), offsets[first : stop + 1]))
        first = stop
    return np.concatenate(pieces)


def encode_digests(fingerprint: str, arrays: Sequence[NDArray[np.uint64]]) -> bytes:
    """The bytes of the sidecar.

    Args:
        fingerprint: Of the index, 64 hex digits.
        arrays: One uint64 [num_samples] a shard, in the index's order.
    """
    return encode_sidecar(fingerprint, [np.append(array, _seal(array)).view(np.int64) for array in arrays])


def sealed_digests(url: str, fingerprint: str, total: int, position: int, num_samples: int) -> NDArray[np.uint64]:
    """uint64 [num_samples]: the checksums of a shard's samples, from the sidecar.

    Args:
        url: The sidecar.
        fingerprint: Of the index.
        total: Numbers in the whole sidecar.
        position: Where the shard's begin.
        num_samples: Samples of the shard.

    Raises:
        CorruptDataError: The sidecar belongs to another index or is damaged.
        StorageError: It could not be read.
    """
    what = f"checksums of the {num_samples} samples from number {position} on"

    def read(is_first: bool) -> NDArray[np.uint64]:
        if not is_first:  # checksums that are wrong would condemn samples that are sound
            forget_sidecars()
        found = read_sidecar(url, fingerprint, total, position, num_samples + 1).view(np.uint64)
        if found[-1] != (seal := _seal(found[:-1])):
            raise CorruptDataError(f"{what} have the checksum {seal:016x}, expected {found[-1]:016x}", url)
        return found[:-1]

    return reread(read, "read_sidecar")


def _seal(digests: NDArray[np.uint64]) -> np.uint64:
    return np.uint64(xxhash.xxh3_64_intdigest(digests.astype("<u8").tobytes()))
