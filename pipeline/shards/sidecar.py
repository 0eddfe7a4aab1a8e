"""Numbers of every shard in one file beside the index ("sidecar"), of which a reader fetches only those of the shard it reads.

The file is an ordinary `.npy` of int64 that numpy opens. Its first five numbers are the format's version and the 32 bytes of
the index's fingerprint, so that numbers of other shards are refused; then follow, shard after shard, `num_samples + 1` numbers
of each.
"""

import io
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.errors import CorruptDataError
from pipeline.shards.rereading import reread

SIDECAR_VERSION = 1
"""First number in a sidecar; changes with its layout."""

CACHED_SHARDS = 256
"""Shards whose numbers are kept in memory per process: about 20 MB for shards of 10,000 samples."""

_PREFIX_NUMBERS = 5  # version, then the fingerprint as four int64
_NUMBER_BYTES = 8


def encode_sidecar(fingerprint: str, arrays: Sequence[NDArray[np.int64]]) -> bytes:
    """The bytes of a sidecar.

    Args:
        fingerprint: Of the index, 64 hex digits.
        arrays: One int64 [num_samples + 1] a shard, in the index's order.
    """
    buffer = io.BytesIO()
    np.save(buffer, np.concatenate([_prefix(fingerprint), *arrays]).astype("<i8"), allow_pickle=False)
    return buffer.getvalue()


def _prefix(fingerprint: str) -> NDArray[np.int64]:
    return np.concatenate([[SIDECAR_VERSION], np.frombuffer(bytes.fromhex(fingerprint), "<i8")])


@lru_cache(maxsize=16)
def _data_offset(url: str, fingerprint: str, total: int) -> int:
    # The byte where the shards' offsets begin, after the sidecar proved to be this index's.
    size = storage.info(url).size
    head = storage.read_range(url, 0, min(size, 4096))
    stream = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception as error:  # noqa: BLE001 (numpy's reader raises whatever the damage makes it stumble over)
        raise CorruptDataError(f"sidecar is no .npy file: {error}", url) from None
    at = stream.tell()
    numbers = _PREFIX_NUMBERS + total
    if version != (1, 0) or fortran_order or dtype != np.dtype("<i8") or shape != (numbers,):
        raise CorruptDataError(f"sidecar holds {dtype} {shape}, expected int64 ({numbers},)", url)
    if size != at + numbers * _NUMBER_BYTES:
        raise CorruptDataError(f"sidecar has {size} bytes, expected {at + numbers * _NUMBER_BYTES}", url)
    found = np.frombuffer(head, "<i8", _PREFIX_NUMBERS, at)
    if found[0] != SIDECAR_VERSION:
        raise CorruptDataError(f"sidecar has format version {found[0]}, expected {SIDECAR_VERSION}", url)
    if not np.array_equal(found, _prefix(fingerprint)):
        raise CorruptDataError(
            f"sidecar was written for the index {found[1:].tobytes().hex()[:16]}, expected {fingerprint[:16]}: it is stale", url
        )
    return at + _PREFIX_NUMBERS * _NUMBER_BYTES


@lru_cache(maxsize=2 * CACHED_SHARDS)  # offsets and checksums
def read_sidecar(url: str, fingerprint: str, total: int, position: int, count: int) -> NDArray[np.int64]:
    """int64 [count]: some of the numbers, kept in memory.

    Args:
        url: The sidecar.
        fingerprint: Of the index.
        total: How many numbers it should hold.
        position: The first of those that are wanted.
        count: How many.

    Raises:
        CorruptDataError: The sidecar belongs to another index or is damaged.
        StorageError: It could not be read.
    """
    at = reread(lambda _: _data_offset(url, fingerprint, total), "read_sidecar")
    first = at + position * _NUMBER_BYTES
    return np.frombuffer(storage.read_range(url, first, first + count * _NUMBER_BYTES), "<i8")


def forget_sidecars() -> None:
    """Has numbers read again that are in memory: they may have been damaged on their way."""
    read_sidecar.cache_clear()
    _data_offset.cache_clear()
