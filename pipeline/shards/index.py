"""What a data set is made of: its shards, how many samples each has, and where in the shard each sample begins."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.shards.offsets import JoinedOffsets, Offsets, WalkedOffsets
from pipeline.shards.places import base_name

MAX_SAMPLES = 2**48
"""Far beyond any data set, and little enough to count epochs of it with."""
Progress = Callable[[int, int], None]
"""Called as (done, total) after every unit of a long operation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardInfo:
    """One shard as the index knows it."""

    url: str
    """Where the shard is; absolute."""

    num_samples: int
    """Samples in it, at least 1."""

    size_bytes: int
    """Size of the tar."""

    digest: str = ""
    """What is in it: `md5:` over its bytes where the index has that, else `members:` over its members' names and exact sizes
    (see `scan_shard`); empty where neither is known. Tells apart shards that tar's padding gives the same size."""

    version: str = ""
    """The store's version of the bytes (ETag, or mtime) when the index was opened; empty where it is not known."""

    def __post_init__(self) -> None:
        if self.num_samples < 1:
            raise ConfigError(f"num_samples is {self.num_samples}, expected at least 1, in {self.url}")
        if self.size_bytes < 1:
            raise ConfigError(f"size_bytes is {self.size_bytes}, expected at least 1, in {self.url}")


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetMeta:
    """What is known of a data set beyond its shards; empty for shards that were packed elsewhere."""

    class_names: tuple[str, ...] = ()
    """Name of label 0, 1, ...; empty when the images have no labels or nobody wrote their names."""

    image_shape: tuple[int, int, int] | None = None
    """Height, width, channels (1 or 3) when all images have the same, else None."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MixedSource:
    """One of several data sets that are mixed: consecutive shards of the index."""

    name: str
    """What the data set is called."""

    num_shards: int
    """Shards of the index that are its."""

    weight: int
    """Samples of it in as many samples as the sum of all weights; at least 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardIndex:
    """A data set: an ordered list of shards and the way to the byte range of any of their samples."""

    name: str
    """What the data set is called."""

    shards: tuple[ShardInfo, ...]
    """In the order that sample numbers count through them."""

    offsets: Offsets = field(repr=False, compare=False)
    """Where the samples' byte offsets are kept; read them with `sample_offsets`."""

    meta: DatasetMeta = field(default_factory=DatasetMeta)
    """Class names and image shape, where known."""

    sources: tuple[MixedSource, ...] = ()
    """The data sets that the shards belong to, in order, when several are mixed; empty for one data set."""

    starts: NDArray[np.int64] = field(init=False, repr=False, compare=False)
    """int64 [num_shards + 1]: samples before each shard; the last is the number of samples."""

    def __post_init__(self) -> None:
        if not self.shards:
            raise ConfigError(f"shards is empty, expected at least one shard in the data set {self.name!r}")
        if (total := sum(shard.num_samples for shard in self.shards)) > MAX_SAMPLES:
            raise ConfigError(f"got {total} samples, expected at most {MAX_SAMPLES}, in the data set {self.name!r}")
        starts = np.zeros(len(self.shards) + 1, np.int64)
        np.cumsum([shard.num_samples for shard in self.shards], out=starts[1:])
        starts.flags.writeable = False
        object.__setattr__(self, "starts", starts)

    @property
    def num_samples(self) -> int:
        """Samples in all shards."""
        return int(self.starts[-1])

    @property
    def size_bytes(self) -> int:
        """Bytes of all shards."""
        return sum(shard.size_bytes for shard in self.shards)

    @property
    def has_digests(self) -> bool:
        """Whether all samples have checksums, as far as the index itself tells."""
        return self.offsets.has_digests

    def fingerprint(self) -> str:
        """sha256, 64 hex digits, over every shard's base name, sample count, size and digest, in order, and the weights.

        The same wherever the shards are stored; another one when a shard was added, moved or repacked. Shards with an index
        and the same shards without one differ, as an index can know the shards' bytes and headers alone cannot.
        """
        entries = [[base_name(shard.url), shard.num_samples, shard.size_bytes, shard.digest] for shard in self.shards]
        entries += [[source.num_shards, source.weight] for source in self.sources]
        return hashlib.sha256(json.dumps(entries, separators=(",", ":")).encode()).hexdigest()

    def select(self, numbers: Sequence[int]) -> "ShardIndex":
        """The data set of only these shards, in this order.

        Args:
            numbers: Positions in `shards`; at least one.
        """
        shards = tuple(self.shards[number] for number in numbers)
        return ShardIndex(name=self.name, shards=shards, offsets=self.offsets.select(numbers), meta=self.meta)


def sample_offsets(index: ShardIndex, shard: int) -> NDArray[np.int64]:
    """Where the samples of one shard begin: int64 [num_samples + 1], rising, in bytes from the start of the tar.

    The last entry is where the last sample ends, so samples [a, b) are the bytes [offsets[a], offsets[b]).

    Args:
        index: The data set.
        shard: Position in `index.shards`.

    Raises:
        CorruptDataError: The offsets on storage belong to other shards, are damaged, or the shard holds another number of
            samples than the index says.
        StorageError: They could not be read.
    """
    info = index.shards[shard]
    return index.offsets.of_shard(shard, info.url, info.size_bytes, info.num_samples)


def has_offsets_at_hand(offsets: Offsets) -> bool:
    """Whether `sample_offsets` of any shard comes without a look at the shard itself.

    Args:
        offsets: Those of a data set.
    """
    if isinstance(offsets, JoinedOffsets):
        return all(has_offsets_at_hand(part) for part in offsets.parts)
    return not isinstance(offsets, WalkedOffsets)


def sample_digests(index: ShardIndex, shard: int) -> NDArray[np.uint64] | None:
    """The checksums of the samples of one shard, uint64 [num_samples] (see `digest_samples`); None where there are none.

    Args:
        index: The data set.
        shard: Position in `index.shards`.

    Raises:
        CorruptDataError: The checksums on storage belong to other shards, or are damaged.
        StorageError: They could not be read.
    """
    return index.offsets.digests_of_shard(shard, index.shards[shard].num_samples)
