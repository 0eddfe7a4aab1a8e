"""Small sidecars on stores are read in blocks, and what a block holds is checked as if it had been read alone."""

import threading
from typing import Any

import numpy as np
import pytest

from pipeline import storage
from pipeline.errors import CorruptDataError, PermanentStorageError
from pipeline.shards import sidecar, sidecar_blocks
from pipeline.shards.sidecar import Sidecar, encode_sidecar, sidecar_of

FINGERPRINT = "ab" * 32
ARRAYS = [np.arange(number, number + 10, dtype=np.int64) for number in range(8)]
URL = "memory://blocks/s.npy"


@pytest.fixture
def ranges(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """First number and length of what is read of the sidecar from here on; one block is three shards' numbers."""
    monkeypatch.setattr(sidecar, "_kept", sidecar._Kept())
    monkeypatch.setattr(sidecar, "_blocks", sidecar_blocks.Blocks())
    monkeypatch.setattr(sidecar, "_data_offsets", {})
    monkeypatch.setattr(sidecar_blocks, "BLOCK_NUMBERS", 33)
    storage.put_replace(URL, encode_sidecar(FINGERPRINT, ARRAYS))
    read_range, found = storage.read_range, []

    def noted(url: str, start: int, end: int, **more: Any) -> Any:
        if start:  # not the header
            found.append(((start - 168) // 8, (end - start) // 8))
        return read_range(url, start, end, **more)

    monkeypatch.setattr(storage, "read_range", noted)
    return found


def made() -> Sidecar:
    return sidecar_of(URL, FINGERPRINT, np.full(8, 10))


def test_each_block_is_read_once(ranges: list[tuple[int, int]]) -> None:
    numbers = made()
    for shard in (4, 3, 7, 0, 2, 5, 6, 1, 0, 7):
        assert numbers.of_shard(shard, 10).tolist() == ARRAYS[shard].tolist()
    assert ranges == [(33, 33), (66, 22), (0, 33)]


def test_what_lies_in_two_blocks_is_read_alone(ranges: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecar_blocks, "BLOCK_NUMBERS", 30)
    numbers = made()
    assert all(numbers.of_shard(shard, 10).tolist() == ARRAYS[shard].tolist() for shard in range(8))
    assert ranges == [(0, 30), (22, 11), (30, 30), (55, 11), (60, 28)]


def test_large_sidecars_are_read_shard_by_shard(ranges: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecar_blocks, "MOST_NUMBERS", 87)  # one less than there are
    assert made().of_shard(4, 10).tolist() == ARRAYS[4].tolist()
    assert ranges == [(44, 11)]


def test_blocks_take_no_more_than_the_bound(ranges: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecar_blocks, "MOST_NUMBERS", 88)
    other = URL.replace("s.npy", "other.npy")
    storage.put_replace(other, encode_sidecar(FINGERPRINT, ARRAYS))
    numbers, others = made(), sidecar_of(other, FINGERPRINT, np.full(8, 10))
    assert all(numbers.of_shard(shard, 10).tolist() == ARRAYS[shard].tolist() for shard in (0, 3))
    assert all(others.of_shard(shard, 10).tolist() == ARRAYS[shard].tolist() for shard in (7, 4, 5))
    assert ranges == [(0, 33), (33, 33), (66, 22), (44, 11), (55, 11)]
    assert all(numbers.of_shard(shard, 10).tolist() == ARRAYS[shard].tolist() for shard in (1, 5))
    assert len(ranges) == 5, "blocks that are here are used"


def test_what_came_damaged_in_a_block_is_read_again_alone(
    ranges: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = storage.read_range

    def flipped(url: str, start: int, end: int, **more: Any) -> Any:
        data = bytearray(noted(url, start, end, **more))
        if end - start == 33 * 8:
            data[8 * 15] ^= 1  # the second shard's
        return memoryview(data)

    monkeypatch.setattr(storage, "read_range", flipped)
    before = storage.counts().retries.get("read_sidecar", 0)
    numbers = made()
    assert all(numbers.of_shard(shard, 10).tolist() == ARRAYS[shard].tolist() for shard in (0, 2, 1, 1))
    assert ranges == [(0, 33), (11, 11)]
    assert storage.counts().retries["read_sidecar"] == before + 1


def test_what_is_damaged_where_it_is_kept_is_refused(ranges: list[tuple[int, int]]) -> None:
    data = bytearray(encode_sidecar(FINGERPRINT, ARRAYS))
    data[-1] ^= 1
    storage.put_replace(URL, data)
    numbers = made()
    assert numbers.of_shard(6, 10).tolist() == ARRAYS[6].tolist()
    with pytest.raises(CorruptDataError, match="checksum"):
        numbers.of_shard(7, 10)
    assert ranges == [(66, 22), (77, 11)]


def test_a_block_that_could_not_be_read_is_asked_for_again(
    ranges: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    noted, troubles = storage.read_range, [PermanentStorageError("gone", URL)]

    def failing(url: str, start: int, end: int, **more: Any) -> Any:
        if start and troubles:
            raise troubles.pop()
        return noted(url, start, end, **more)

    monkeypatch.setattr(storage, "read_range", failing)
    numbers = made()
    with pytest.raises(PermanentStorageError, match="gone"):
        numbers.of_shard(0, 10)
    assert numbers.of_shard(0, 10).tolist() == ARRAYS[0].tolist()
    assert ranges == [(0, 33)]


def test_threads_that_want_one_block_read_it_once(ranges: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    noted, together = storage.read_range, threading.Barrier(3)
    found: list[list[int]] = []

    def slow(url: str, start: int, end: int, **more: Any) -> Any:
        if start:
            threading.Event().wait(0.1)  # the others come meanwhile
        return noted(url, start, end, **more)

    numbers = made()
    numbers.of_shard(7, 10)  # the header is read
    monkeypatch.setattr(storage, "read_range", slow)

    def ask(shard: int) -> None:
        together.wait()
        found.append(numbers.of_shard(shard, 10).tolist())

    threads = [threading.Thread(target=ask, args=(shard,)) for shard in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [array.tolist() for array in ARRAYS[:3]]
    assert ranges == [(66, 22), (0, 33)]


def test_who_waited_for_a_block_that_could_not_be_read_reads_alone(
    ranges: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and not one after the other: a store that is down is waited for by each thread for two minutes."""
    noted, together, others = storage.read_range, threading.Barrier(3), threading.Barrier(2)
    found: dict[int, object] = {}

    def failing(url: str, start: int, end: int, **more: Any) -> Any:
        if end - start == 33 * 8:
            threading.Event().wait(1.0)  # the others come meanwhile
            raise PermanentStorageError("gone", URL)
        others.wait(timeout=30)
        return noted(url, start, end, **more)

    numbers = made()
    numbers.of_shard(7, 10)  # the header is read
    ranges.clear()
    monkeypatch.setattr(storage, "read_range", failing)

    def ask(shard: int) -> None:
        together.wait()
        try:
            found[shard] = numbers.of_shard(shard, 10).tolist()
        except PermanentStorageError as error:
            found[shard] = str(error)

    threads = [threading.Thread(target=ask, args=(shard,)) for shard in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    failed = [shard for shard in range(3) if isinstance(found[shard], str)]
    assert len(failed) == 1
    assert all(found[shard] == ARRAYS[shard].tolist() for shard in range(3) if shard not in failed)
    assert sorted(ranges) == [(11 * shard, 11) for shard in range(3) if shard not in failed]


def test_a_block_that_came_damaged_is_read_again_for_the_next_shard(
    ranges: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    noted, flips = storage.read_range, [1]

    def flipped(url: str, start: int, end: int, **more: Any) -> Any:
        data = bytearray(noted(url, start, end, **more))
        if end - start == 33 * 8 and flips:
            data[8 * 15] ^= flips.pop()  # the second shard's
        return memoryview(data)

    monkeypatch.setattr(storage, "read_range", flipped)
    numbers = made()
    assert all(numbers.of_shard(shard, 10).tolist() == ARRAYS[shard].tolist() for shard in (1, 0, 2))
    assert ranges == [(0, 33), (11, 11), (0, 33)]
