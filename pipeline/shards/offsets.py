"""Where each sample of a shard begins, kept in one of three places: memory, a file beside the index, the shard itself.

In the first two, checksums of the samples may be kept as well.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.shards.scan import sound_scan
from pipeline.shards.sidecar import Sidecar, damaged
from pipeline.shards.tar_header import BLOCK_BYTES

Numbers = tuple[NDArray[np.int64], NDArray[np.uint64] | None]
"""Offsets of a shard, int64 [num_samples + 1], and the checksums of its samples, uint64 [num_samples], where they are known."""


@dataclass(frozen=True, slots=True, eq=False)
class MemoryOffsets:
    """Offsets that were just read from the shards."""

    arrays: tuple[NDArray[np.int64], ...]
    """One int64 [num_samples + 1] a shard."""

    digests: tuple[NDArray[np.uint64], ...] | None = None
    """One uint64 [num_samples] a shard, where checksums are known."""

    @property
    def has_digests(self) -> bool:
        """Whether checksums are known."""
        return self.digests is not None

    def at_hand(self, shard: int, url: str, size_bytes: int, num_samples: int) -> Numbers | None:
        """The offsets and checksums of shard number `shard`: all are in memory."""
        return self.arrays[shard], self.digests_of_shard(shard, num_samples)

    def of_shard(self, shard: int, url: str, size_bytes: int, num_samples: int) -> NDArray[np.int64]:
        """The offsets of shard number `shard`."""
        return self.arrays[shard]

    def digests_of_shard(self, shard: int, num_samples: int) -> NDArray[np.uint64] | None:
        """The checksums of its samples."""
        return None if self.digests is None else self.digests[shard]

    def select(self, numbers: Sequence[int]) -> "MemoryOffsets":
        """The offsets of only these shards."""
        digests = None if self.digests is None else tuple(self.digests[number] for number in numbers)
        return MemoryOffsets(tuple(self.arrays[number] for number in numbers), digests)


@dataclass(frozen=True, slots=True, eq=False)
class SidecarOffsets:
    """Offsets in a sidecar on storage, and checksums in another where there is one."""

    offsets: Sidecar
    """num_samples + 1 numbers a shard."""

    digests: Sidecar | None = None
    """num_samples numbers a shard; None where there are no checksums."""

    @property
    def has_digests(self) -> bool:
        """Whether checksums are known."""
        return self.digests is not None

    def at_hand(self, shard: int, url: str, size_bytes: int, num_samples: int) -> Numbers | None:
        """The offsets and checksums of shard number `shard`; None where that would wait.

        Raises:
            CorruptDataError: The sidecar is damaged.
        """
        offsets = self.offsets.at_hand(shard, num_samples + 1)
        digests = None if self.digests is None else self.digests.at_hand(shard, num_samples)
        if offsets is None or (self.digests is not None and digests is None):
            return None
        _check(offsets, size_bytes, self.offsets.url, url)
        return offsets, None if digests is None else digests.view(np.uint64)

    def of_shard(self, shard: int, url: str, size_bytes: int, num_samples: int) -> NDArray[np.int64]:
        """The offsets of shard number `shard`, in one ranged read of 8 * (num_samples + 2) bytes, seal included, or of a block.

        Raises:
            CorruptDataError: The sidecar belongs to another index or is damaged.
            StorageError: It could not be read.
        """
        offsets = self.offsets.of_shard(shard, num_samples + 1)
        _check(offsets, size_bytes, self.offsets.url, url)
        return offsets

    def digests_of_shard(self, shard: int, num_samples: int) -> NDArray[np.uint64] | None:
        """The checksums of its samples.

        Raises:
            CorruptDataError: The sidecar belongs to another index or is damaged.
            StorageError: It could not be read.
        """
        return None if self.digests is None else self.digests.of_shard(shard, num_samples).view(np.uint64)

    def select(self, numbers: Sequence[int]) -> "SidecarOffsets":
        """The offsets of only these shards, in the same sidecars."""
        return SidecarOffsets(self.offsets.select(numbers), None if self.digests is None else self.digests.select(numbers))


@dataclass(frozen=True, slots=True, eq=False)
class WalkedOffsets:
    """No offsets are stored: the shard's headers are read when a sample of it is asked for, and cached."""

    @property
    def has_digests(self) -> bool:
        """Whether checksums are known."""
        return False

    def at_hand(self, shard: int, url: str, size_bytes: int, num_samples: int) -> Numbers | None:
        """None: nobody looks whether the shard's headers are."""
        return None

    def of_shard(self, shard: int, url: str, size_bytes: int, num_samples: int) -> NDArray[np.int64]:
        """The offsets of the shard at `url`, from its headers.

        Raises:
            CorruptDataError: The shard is no sound tar, or holds another number of samples than the index says.
            StorageError: It could not be read.
        """
        return _walked_offsets(url, size_bytes, num_samples)

    def digests_of_shard(self, shard: int, num_samples: int) -> NDArray[np.uint64] | None:
        """None: nothing is stored."""
        return None

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

    @property
    def has_digests(self) -> bool:
        """Whether checksums are known."""
        return all(part.has_digests for part in self.parts)

    def at_hand(self, shard: int, url: str, size_bytes: int, num_samples: int) -> Numbers | None:
        """The offsets and checksums of shard number `shard`, counted through all data sets; None where that would wait."""
        part = bisect_right(self.first_shards, shard) - 1
        return self.parts[part].at_hand(shard - self.first_shards[part], url, size_bytes, num_samples)

    def of_shard(self, shard: int, url: str, size_bytes: int, num_samples: int) -> NDArray[np.int64]:
        """The offsets of shard number `shard`, counted through all data sets."""
        part = bisect_right(self.first_shards, shard) - 1
        return self.parts[part].of_shard(shard - self.first_shards[part], url, size_bytes, num_samples)

    def digests_of_shard(self, shard: int, num_samples: int) -> NDArray[np.uint64] | None:
        """The checksums of its samples, where that data set has some."""
        part = bisect_right(self.first_shards, shard) - 1
        return self.parts[part].digests_of_shard(shard - self.first_shards[part], num_samples)

    def select(self, numbers: Sequence[int]) -> "JoinedOffsets":
        """The offsets of only these shards."""
        chosen = [bisect_right(self.first_shards, number) - 1 for number in numbers]
        pairs = zip(chosen, numbers, strict=True)
        parts = tuple(self.parts[part].select([number - self.first_shards[part]]) for part, number in pairs)
        return JoinedOffsets(parts, tuple(range(len(parts))))


Offsets = MemoryOffsets | SidecarOffsets | WalkedOffsets | JoinedOffsets


@lru_cache(maxsize=256)  # about 20 MB for shards of 10,000 samples
def _walked_offsets(url: str, size_bytes: int, num_samples: int) -> NDArray[np.int64]:
    # The count is checked before anything is kept: what came damaged once must not be taken for what is stored.
    offsets = sound_scan(url, size_bytes, num_samples).offsets
    offsets.flags.writeable = False
    return offsets


def _check(offsets: NDArray[np.int64], size_bytes: int, url: str, shard_url: str) -> None:
    # Neighbors are compared, not subtracted: a difference of damaged numbers may wrap around and look sound.
    (falls,) = np.nonzero(offsets[1:] <= offsets[:-1])
    if len(falls):
        problem = f"do not rise within the {size_bytes} bytes of {shard_url}: {offsets[falls[0] + 1]} after {offsets[falls[0]]}"
    elif offsets[0] < 0 or offsets[-1] > size_bytes:
        problem = f"do not rise within the {size_bytes} bytes of {shard_url}: {offsets[0]} to {offsets[-1]}"
    elif (odd := offsets & (BLOCK_BYTES - 1) != 0).any():  # a mask: twenty times as fast, and this is for every window
        problem = f"are not all at blocks of {BLOCK_BYTES} bytes of {shard_url}: {offsets[odd][0]}"
    else:
        return
    raise damaged(f"sidecar's offsets {problem}", url)
