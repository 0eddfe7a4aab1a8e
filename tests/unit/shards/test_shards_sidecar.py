from pathlib import Path

import numpy as np
import pytest

from pipeline import storage
from pipeline.errors import CorruptDataError
from pipeline.shards import sidecar
from pipeline.shards.offsets import SidecarOffsets
from pipeline.shards.sidecar import Sidecar, encode_sidecar, sidecar_of

FINGERPRINT = "ab" * 32
ARRAYS = [np.arange(number, number + 10, dtype=np.int64) for number in range(8)]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecar, "_kept", sidecar._Kept())
    monkeypatch.setattr(sidecar, "_data_offsets", {})
    monkeypatch.setattr(sidecar, "KEPT_NUMBERS", 35)


@pytest.mark.usefixtures("kept")
def test_the_numbers_used_last_are_kept_and_no_more_than_the_bound(tmp_path: Path) -> None:
    url = str(tmp_path / "s.npy")
    storage.put_replace(url, encode_sidecar(FINGERPRINT, ARRAYS))
    numbers = sidecar_of(url, FINGERPRINT, np.full(8, 10))
    for shard in (0, 1, 2, 0, 3):
        assert numbers.of_shard(shard, 10).tolist() == ARRAYS[shard].tolist()
    (tmp_path / "s.npy").unlink()
    assert [shard for shard in range(8) if numbers.at_hand(shard, 10) is not None] == [0, 2, 3]
    assert numbers.select([3, 1]).at_hand(0, 10) is not None
    assert numbers.select([3, 1]).at_hand(1, 10) is None
    assert sidecar_of(url, "cd" * 32, np.full(8, 10)).at_hand(0, 10) is None
    assert numbers.of_shard(2, 10).tolist() == ARRAYS[2].tolist()


@pytest.mark.usefixtures("kept")
def test_one_shard_is_kept_however_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecar, "KEPT_NUMBERS", 5)
    url = str(tmp_path / "s.npy")
    storage.put_replace(url, encode_sidecar(FINGERPRINT, ARRAYS))
    numbers = sidecar_of(url, FINGERPRINT, np.full(8, 10))
    for shard in range(3):
        numbers.of_shard(shard, 10)
    (tmp_path / "s.npy").unlink()
    assert [numbers.at_hand(shard, 10) is not None for shard in range(3)] == [False, False, True]


def at_hand(numbers: Sidecar, shard: int) -> list[int]:
    """The numbers of a shard that lie in the page cache."""
    for _ in range(20):  # the system may take pages away at any time
        data = Path(numbers.url).read_bytes()
        if not storage.range_at_hand(numbers.url, 0, len(data), memoryview(bytearray(len(data)))):
            continue
        found = numbers.at_hand(shard, 10)
        if found is not None:
            return found.tolist()
    pytest.skip("neither this system nor this file system tells whether reading would wait")


@pytest.mark.usefixtures("kept")
def test_what_the_page_cache_holds_is_had_without_waiting(tmp_path: Path) -> None:
    url = str(tmp_path / "s.npy")
    storage.put_replace(url, encode_sidecar(FINGERPRINT, ARRAYS))
    numbers = sidecar_of(url, FINGERPRINT, np.full(8, 10))
    assert numbers.at_hand(0, 10) is None  # whether it is this index's is not known yet
    numbers.of_shard(0, 10)
    assert at_hand(numbers, 5) == ARRAYS[5].tolist()
    Path(url).unlink()
    assert numbers.of_shard(5, 10).tolist() == ARRAYS[5].tolist()


@pytest.mark.usefixtures("kept")
def test_damaged_numbers_are_never_at_hand(tmp_path: Path) -> None:
    url = str(tmp_path / "s.npy")
    storage.put_replace(url, encode_sidecar(FINGERPRINT, ARRAYS))
    numbers = sidecar_of(url, FINGERPRINT, np.full(8, 10))
    numbers.of_shard(0, 10)
    data = bytearray(Path(url).read_bytes())
    data[-90] ^= 1  # the last shard has 80 bytes of numbers and 8 of seal; this is the seal before
    data[-1] ^= 1
    Path(url).write_bytes(data)
    assert at_hand(numbers, 5) == ARRAYS[5].tolist()
    assert numbers.at_hand(6, 10) is None
    assert numbers.at_hand(7, 10) is None
    with pytest.raises(CorruptDataError, match="have the checksum"):
        numbers.of_shard(7, 10)


def test_what_the_next_one_displaced_is_had_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecar, "_kept", sidecar._Kept())
    monkeypatch.setattr(sidecar, "KEPT_NUMBERS", 15)
    offsets, digests = (str(tmp_path / name) for name in ("o.npy", "d.npy"))
    rising = [np.arange(0, 512 * 11, 512, dtype=np.int64)] * 2
    storage.put_replace(offsets, encode_sidecar(FINGERPRINT, rising))
    storage.put_replace(digests, encode_sidecar(FINGERPRINT, ARRAYS[:2]))
    both = SidecarOffsets(sidecar_of(offsets, FINGERPRINT, np.full(2, 11)), sidecar_of(digests, FINGERPRINT, np.full(2, 10)))
    both.of_shard(0, "s", 10**6, 10)
    both.digests_of_shard(0, 10)
    assert both.digests is not None
    at_hand(both.digests, 1)
    for _ in range(20):
        Path(offsets).read_bytes()
        found = both.at_hand(1, "s", 10**6, 10)
        if found is not None:
            break
    else:
        pytest.fail("never at hand")
    assert found[0].tolist() == rising[1].tolist()
    assert found[1] is not None
    assert found[1].tolist() == ARRAYS[1].tolist()
