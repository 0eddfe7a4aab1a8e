"""Where each sample of a shard begins, kept in one of three places: memory, a file beside the index, the shard itself.

The file ("sidecar") is an ordinary `.npy` of int64 that numpy opens. Its first five numbers are the format's version and
the 32 bytes of the index's fingerprint, so that offsets of other shards are refused; then follow, shard after shard, the
`num_samples + 1` offsets of each. A reader fetches only the few numbers of the shard that it reads.
"""

import hashlib
import io
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.errors import CorruptDataError
from pipeline.shards.grouping import group_members
from pipeline.shards.tar_walk import BLOCK_BYTES, CHUNK_BYTES, Member, walk_tar_ranges

SIDECAR_NAME = "index.offsets.npy"
"""The sidecar's name beside the index."""

SIDECAR_VERSION = 1
"""First number in the sidecar; changes with its layout."""

_PREFIX_NUMBERS = 5  # version, then the fingerprint as four int64
_NUMBER_BYTES = 8
_CACHED_SHARDS = 256  # offsets kept in memory per process: about 20 MB for shards of 10,000 samples


@dataclass(frozen=True, slots=True, eq=False)
class MemoryOffsets:
    """Offsets that were just read from the shards."""

    arrays: tuple[NDArray[np.int64], ...]
    """One int64 [num_samples + 1] a shard."""

    def of_shard(self, shard: int, url: str, size_bytes: int, num_samples: int) -> NDArray[np.int64]:
        """The offsets of shard number `shard`."""
        return self.arrays[shard]

    def select(self, numbers: Sequence[int]) -> "MemoryOffsets":
        """The offsets of only these shards."""
        return MemoryOffsets(tuple(self.arrays[number] for number in numbers))


@dataclass(frozen=True, slots=True, eq=False)
class SidecarOffsets:
    """Offsets in a sidecar on storage, fetched shard by shard and cached."""

    url: str
    """The sidecar."""

    fingerprint: str
    """Of the index that the sidecar was written with; the sidecar must carry the same."""

    positions: NDArray[np.int64]
    """int64 [num_shards]: where each shard's offsets begin in the sidecar, in numbers after its prefix."""

    total: int
    """Offsets in the whole sidecar, over all shards."""

    def of_shard(self, shard: int, url: str, size_bytes: int, num_samples: int) -> NDArray[np.int64]:
        """The offsets of shard number `shard`: one ranged read of 8 * (num_samples + 1) bytes.

        Raises:
            CorruptDataError: The sidecar belongs to another index or is damaged.
            StorageError: It could not be read.
        """
        offsets = _sidecar_offsets(self.url, self.fingerprint, self.total, int(self.positions[shard]), num_samples + 1)
        _check(offsets, size_bytes, self.url, url)
        return offsets

    def select(self, numbers: Sequence[int]) -> "SidecarOffsets":
        """The offsets of only these shards, in the same sidecar."""
        return SidecarOffsets(self.url, self.fingerprint, self.positions[list(numbers)], self.total)


@dataclass(frozen=True, slots=True, eq=False)
class WalkedOffsets:
    """No offsets are stored: the shard's headers are read when a sample of it is asked for, and cached."""

    def of_shard(self, shard: int, url: str, size_bytes: int, num_samples: int) -> NDArray[np.int64]:
        """The offsets of the shard at `url`, from its headers.

        Raises:
            CorruptDataError: The shard is no sound tar, or holds another number of samples than the index says.
            StorageError: It could not be read.
        """
        offsets = _walked_offsets(url, size_bytes)
        if len(offsets) - 1 != num_samples:
            raise CorruptDataError(f"shard has {len(offsets) - 1} samples, its index says {num_samples}", url)
        return offsets

    def select(self, numbers: Sequence[int]) -> "WalkedOffsets":
        """The same: nothing is stored."""
        return self


@dataclass(frozen=True, slots=True, eq=False)
class JoinedOffsets:
    """The offsets of several data sets, one after another."""

    parts: "tuple[Offsets, ...]"
    """Those of each data set."""

    first_shards: tuple[int, ...]
    """Number of the first shard of each."""

    def of_shard(self, shard: int, url: str, size_bytes: int, num_samples: int) -> NDArray[np.int64]:
        """The offsets of shard number `shard`, counted through all data sets."""
        part = bisect_right(self.first_shards, shard) - 1
        return self.parts[part].of_shard(shard - self.first_shards[part], url, size_bytes, num_samples)

    def select(self, numbers: Sequence[int]) -> "JoinedOffsets":
        """The offsets of only these shards."""
        chosen = [bisect_right(self.first_shards, number) - 1 for number in numbers]
        pairs = zip(chosen, numbers, strict=True)
        parts = tuple(self.parts[part].select([number - self.first_shards[part]]) for part, number in pairs)
        return JoinedOffsets(parts, tuple(range(len(parts))))


Offsets = MemoryOffsets | SidecarOffsets | WalkedOffsets | JoinedOffsets


@dataclass(frozen=True, slots=True, eq=False)
class ShardScan:
    """What the headers of one shard tell."""

    offsets: NDArray[np.int64]
    """int64 [num_samples + 1]: where each sample begins and, last, where the last one ends, padding included."""

    digest: str
    """Stands for the list of the members' names and exact sizes."""


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
    members = list(
        walk_tar_ranges(lambda first, last: storage.read_range(url, first, last), size_bytes, url, chunk_bytes=chunk_bytes)
    )
    return scan_members(members, url)


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
def _sidecar_data_offset(url: str, fingerprint: str, total: int) -> int:
    # The byte where the shards' offsets begin, after the sidecar proved to be this index's.
    size = storage.info(url).size
    head = storage.read_range(url, 0, min(size, 4096))
    stream = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    except ValueError as error:
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


@lru_cache(maxsize=_CACHED_SHARDS)
def _sidecar_offsets(url: str, fingerprint: str, total: int, position: int, count: int) -> NDArray[np.int64]:
    first = _sidecar_data_offset(url, fingerprint, total) + position * _NUMBER_BYTES
    return np.frombuffer(storage.read_range(url, first, first + count * _NUMBER_BYTES), "<i8")


@lru_cache(maxsize=_CACHED_SHARDS)
def _walked_offsets(url: str, size_bytes: int) -> NDArray[np.int64]:
    offsets = scan_shard(url, size_bytes).offsets
    offsets.flags.writeable = False
    return offsets


def _check(offsets: NDArray[np.int64], size_bytes: int, url: str, shard_url: str) -> None:
    if offsets[0] < 0 or offsets[-1] > size_bytes or (np.diff(offsets) <= 0).any():
        raise CorruptDataError(f"sidecar's offsets do not rise within the {size_bytes} bytes of {shard_url}", url)
