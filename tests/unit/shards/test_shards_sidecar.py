from pathlib import Path

import numpy as np
import pytest

from pipeline import storage
from pipeline.errors import CorruptDataError
from pipeline.shards import sidecar
from pipeline.shards.sidecar import encode_sidecar, sidecar_of

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
    assert [shard for shard in range(8) if numbers.is_at_hand(shard, 10)] == [0, 2, 3]
    assert numbers.select([3, 1]).is_at_hand(0, 10)
    assert not numbers.select([3, 1]).is_at_hand(1, 10)
    assert not sidecar_of(url, "cd" * 32, np.full(8, 10)).is_at_hand(0, 10)
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
    assert [numbers.is_at_hand(shard, 10) for shard in range(3)] == [False, False, True]


@pytest.mark.usefixtures("kept")
def test_what_the_page_cache_holds_is_had_without_waiting(tmp_path: Path) -> None:
    url = str(tmp_path / "s.npy")
    storage.put_replace(url, encode_sidecar(FINGERPRINT, ARRAYS))
    numbers = sidecar_of(url, FINGERPRINT, np.full(8, 10))
    if not storage.range_at_hand(url, 0, 100, memoryview(bytearray(100))):
        pytest.skip("neither this system nor this file system tells whether reading would wait")
    assert not numbers.is_at_hand(0, 10)  # whether it is this index's is not known yet
    numbers.of_shard(0, 10)
    for _ in range(20):  # the system may take pages away at any time
        Path(url).read_bytes()
        if numbers.is_at_hand(5, 10):
            break
    else:
        pytest.fail("never at hand")
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
    assert not numbers.is_at_hand(6, 10)
    assert not numbers.is_at_hand(7, 10)
    with pytest.raises(CorruptDataError, match="have the checksum"):
        numbers.of_shard(7, 10)
