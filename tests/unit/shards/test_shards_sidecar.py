from pathlib import Path

import numpy as np
import pytest

from pipeline import storage
from pipeline.shards import sidecar
from pipeline.shards.sidecar import encode_sidecar, sidecar_of

FINGERPRINT = "ab" * 32
ARRAYS = [np.arange(number, number + 10, dtype=np.int64) for number in range(8)]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecar, "_kept", sidecar._Kept())
    monkeypatch.setattr(sidecar, "KEPT_NUMBERS", 35)


@pytest.mark.usefixtures("kept")
def test_the_numbers_used_last_are_kept_and_no_more_than_the_bound(tmp_path: Path) -> None:
    url = str(tmp_path / "s.npy")
    storage.put_replace(url, encode_sidecar(FINGERPRINT, ARRAYS))
    numbers = sidecar_of(url, FINGERPRINT, np.full(8, 10))
    for shard in (0, 1, 2, 0, 3):
        assert numbers.of_shard(shard, 10).tolist() == ARRAYS[shard].tolist()
    assert [shard for shard in range(8) if numbers.is_kept(shard)] == [0, 2, 3]
    assert numbers.select([3, 1]).is_kept(0)
    assert not numbers.select([3, 1]).is_kept(1)
    assert not sidecar_of(url, "cd" * 32, np.full(8, 10)).is_kept(0)
    (tmp_path / "s.npy").unlink()
    assert numbers.of_shard(2, 10).tolist() == ARRAYS[2].tolist()


@pytest.mark.usefixtures("kept")
def test_one_shard_is_kept_however_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecar, "KEPT_NUMBERS", 5)
    url = str(tmp_path / "s.npy")
    storage.put_replace(url, encode_sidecar(FINGERPRINT, ARRAYS))
    numbers = sidecar_of(url, FINGERPRINT, np.full(8, 10))
    for shard in range(3):
        numbers.of_shard(shard, 10)
        assert [numbers.is_kept(other) for other in range(3)] == [other == shard for other in range(3)]
