"""Numbers of every shard in one file beside the index ("sidecar"), of which a reader fetches only those of the shard it reads.

The file is an ordinary `.npy` of int64 that numpy opens. Its first five numbers are the format's version and the 32 bytes of
the index's fingerprint, so that numbers of other shards are refused; then follow, shard after shard, the numbers of each and
their seal: XXH3 of 64 bits over them, little-endian.
"""

import io
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import xxhash
from numpy.typing import NDArray

from pipeline import storage
from pipeline.errors import CorruptDataError
from pipeline.shards.rereading import reread
from pipeline.shards.sidecar_blocks import NUMBER_BYTES, Blocks, Place, read_numbers

SIDECAR_VERSION = 2
"""First number in a sidecar; changes with its layout."""

KEPT_NUMBERS = 5_000_000
"""Numbers that are kept in memory per process, 40 MB: offsets and checksums of as many shards as hold 2.5 million samples."""

_PREFIX_NUMBERS = 5  # version, then the fingerprint as four int64


@dataclass(frozen=True, slots=True, eq=False)
class Sidecar:
    """A sidecar on storage, fetched by the shard or the block and cached; what is not as it was written is never handed out."""

    url: str
    """Where it is."""

    fingerprint: str
    """Of the index that it was written with; it must carry the same."""

    positions: NDArray[np.int64]
    """int64 [num_shards]: where each shard's numbers begin, counted after the prefix."""

    total: int
    """Numbers after the prefix, over all shards, seals included."""

    def of_shard(self, shard: int, count: int) -> NDArray[np.int64]:
        """int64 [count]: the numbers of shard number `shard`, in one ranged read of 8 * (count + 1) bytes, or of a block.

        Raises:
            CorruptDataError: The sidecar belongs to another index or is damaged.
            StorageError: It could not be read.
        """
        at = int(self.positions[shard])
        key = (self.url, self.fingerprint, at)
        found = _kept.get(key)
        if found is None:
            sealed = partial(_sealed, self.url, self.fingerprint, self.total, at, count)
            found = reread(lambda is_first: sealed(is_first=is_first), "read_sidecar")
            _kept.put(key, found)
        return found

    def at_hand(self, shard: int, count: int) -> NDArray[np.int64] | None:
        """As `of_shard`, from memory or the page cache; None where reading would wait, or anything is wrong.

        The very first read of a sidecar, which finds out whether it is the index's, always waits.
        """
        at = int(self.positions[shard])
        key = (self.url, self.fingerprint, at)
        found = _kept.get(key)
        if found is None:
            found = _sealed_at_hand((self.url, self.fingerprint, self.total), at, count)
            if found is not None:
                _kept.put(key, found)
        return found

    def select(self, numbers: Sequence[int]) -> "Sidecar":
        """The same sidecar for only these shards."""
        return replace(self, positions=self.positions[list(numbers)])


def sidecar_of(url: str, fingerprint: str, counts: NDArray[np.int64]) -> Sidecar:
    """The sidecar at `url`.

    Args:
        url: Where it is.
        fingerprint: Of the index, 64 hex digits.
        counts: int64 [num_shards]: numbers of each shard, without the seal.
    """
    lengths = counts + 1
    return Sidecar(url, fingerprint, np.cumsum(lengths) - lengths, int(lengths.sum()))


def encode_sidecar(fingerprint: str, arrays: Sequence[NDArray[np.int64]]) -> bytes:
    """The bytes of a sidecar.

    Args:
        fingerprint: Of the index, 64 hex digits.
        arrays: The numbers of each shard, int64, in the index's order.
    """
    buffer = io.BytesIO()
    sealed = [part for array in arrays for part in (array, [_seal(array)])]
    np.save(buffer, np.concatenate([_prefix(fingerprint), *sealed]).astype("<i8"), allow_pickle=False)
    return buffer.getvalue()


def _seal(numbers: NDArray[np.int64]) -> np.int64:
    return np.uint64(xxhash.xxh3_64_intdigest(numbers.astype("<i8").tobytes())).view(np.int64)


def _prefix(fingerprint: str) -> NDArray[np.int64]:
    return np.concatenate([[SIDECAR_VERSION], np.frombuffer(bytes.fromhex(fingerprint), "<i8")])


_data_offsets: dict[tuple[str, str, int], int] = {}
"""The byte where the shards' numbers begin in each sidecar that proved to be its index's."""


def _data_offset(url: str, fingerprint: str, total: int) -> int:
    key = (url, fingerprint, total)
    if key not in _data_offsets:
        _data_offsets[key] = _find_data_offset(url, fingerprint, total)
    return _data_offsets[key]


def _find_data_offset(url: str, fingerprint: str, total: int) -> int:
    size = storage.info(url).size
    head = storage.read_range(url, 0, min(size, 4096))
    stream = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception as error:  # noqa: BLE001 (numpy's reader raises whatever the damage makes it stumble over)
        raise damaged(f"sidecar is no .npy file: {error}", url) from None
    at = stream.tell()
    numbers = _PREFIX_NUMBERS + total
    if version != (1, 0) or fortran_order or dtype != np.dtype("<i8") or len(shape) != 1 or len(head) < at + NUMBER_BYTES:
        raise damaged(f"sidecar holds {dtype} {shape}, expected int64 ({numbers},)", url)
    found = np.frombuffer(head, "<i8", min(_PREFIX_NUMBERS, (len(head) - at) // NUMBER_BYTES), at)
    if found[0] != SIDECAR_VERSION:  # first: with the version the number of numbers changes
        raise damaged(f"sidecar has format version {found[0]}, expected {SIDECAR_VERSION}", url)
    if shape != (numbers,):
        raise damaged(f"sidecar holds {dtype} {shape}, expected int64 ({numbers},)", url)
    if size != at + numbers * NUMBER_BYTES:
        raise damaged(f"sidecar has {size} bytes, expected {at + numbers * NUMBER_BYTES}", url)
    if not np.array_equal(found, _prefix(fingerprint)):
        raise damaged(
            f"sidecar was written for the index {found[1:].tobytes().hex()[:16]}, expected {fingerprint[:16]}: it is stale", url
        )
    return at + _PREFIX_NUMBERS * NUMBER_BYTES


class _Kept:
    """The numbers of the shards that were used last. Threads ask; what two of them fetch at once is kept once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arrays: OrderedDict[tuple[str, str, int], NDArray[np.int64]] = OrderedDict()
        self._numbers = 0

    def get(self, key: tuple[str, str, int]) -> NDArray[np.int64] | None:
        with self._lock:
            if key in self._arrays:
                self._arrays.move_to_end(key)
            return self._arrays.get(key)

    def put(self, key: tuple[str, str, int], numbers: NDArray[np.int64]) -> None:
        with self._lock:
            if key not in self._arrays:
                self._numbers += len(numbers)
            self._arrays[key] = numbers
            while self._numbers > KEPT_NUMBERS and len(self._arrays) > 1:
                self._numbers -= len(self._arrays.popitem(last=False)[1])


_kept = _Kept()
_blocks = Blocks()


def _sealed(url: str, fingerprint: str, total: int, position: int, count: int, *, is_first: bool) -> NDArray[np.int64]:
    # Only sealed numbers are handed out and kept: what came damaged once must not be taken for what is stored.
    place = Place(url, fingerprint, _data_offset(url, fingerprint, total), total)
    found = _blocks.find(place, position, count + 1) if is_first else None
    if found is None:
        found = read_numbers(place, position, count + 1)
    if (seal := _seal(found[:-1])) != found[-1]:
        _blocks.forget(place, position)
        got, expected = (int(one) & (2**64 - 1) for one in (seal, found[-1]))
        problem = f"sidecar's {count} numbers from number {position} on have the checksum {got:016x}, expected {expected:016x}"
        raise damaged(problem, url)
    return found[:-1]


def _sealed_at_hand(sidecar: tuple[str, str, int], position: int, count: int) -> NDArray[np.int64] | None:
    # None where reading would wait, or anything is wrong: whoever waits is told what.
    if sidecar not in _data_offsets:
        return None
    first = _data_offsets[sidecar] + position * NUMBER_BYTES
    memory = memoryview(bytearray((count + 1) * NUMBER_BYTES))
    if not storage.range_at_hand(sidecar[0], first, first + len(memory), memory):
        return None
    found = np.frombuffer(memory, "<i8")
    return found[:-1] if _seal(found[:-1]) == found[-1] else None


def damaged(problem: str, url: str) -> CorruptDataError:
    """The error for a sidecar that is not the index's, with what makes another from the shards.

    Args:
        problem: What was got and what was expected.
        url: The sidecar.
    """
    return CorruptDataError(f"{problem}; jobs/index.py indexes the shards again", url)
