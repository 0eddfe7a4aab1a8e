"""Checksums of samples: made when packing or indexing, kept beside the index, and any other byte is noticed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from pipeline import storage
from pipeline.errors import CorruptDataError
from pipeline.plans.index_plan import plan_indexing
from pipeline.shards import (
    RawSample,
    ShardIndex,
    check_digest,
    found_shards,
    index_shard,
    join_shards,
    open_data,
    open_source,
    pack,
    read_samples,
    save_index,
)
from pipeline.shards.index import sample_digests
from pipeline.shards.mixture import mixed


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    pack(open_source("digits"), str(folder), shard_size=600)
    return folder


def digests(index: ShardIndex, shard: int) -> list[int]:
    found = sample_digests(index, shard)
    assert found is not None
    return found.tolist()


def test_packed_shards_have_the_checksum_of_every_stretch(packed: Path) -> None:
    index = open_data(str(packed))
    assert index.has_digests
    for shard in range(3):
        samples = read_samples(index, shard, 0, index.shards[shard].num_samples)
        whole = (packed / f"shard-{shard:06d}.tar").read_bytes()
        ends = [sample.offset for sample in samples[1:]]
        stretches = [whole[sample.offset : end] for sample, end in zip(samples, ends, strict=False)]
        assert digests(index, shard)[:-1] == [xxhash.xxh3_64_intdigest(stretch) for stretch in stretches]
        assert [sample.digest for sample in samples] == digests(index, shard)
    assert np.load(packed / "index.xxh3.npy").shape == (5 + 1797 + 3,)
    assert np.load(packed / "index.offsets.npy").shape == (5 + 1797 + 3 + 3,)


def test_indexing_finds_the_checksums_that_packing_found(packed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pipeline.shards.digests.PIECE_BYTES", 10_000)
    urls = [str(path) for path in sorted(packed.glob("*.tar"))]
    made = join_shards([index_shard(*pair, checksums=True) for pair in zip(urls, found_shards(urls), strict=True)])
    saved = open_data(save_index(made, str(tmp_path)))
    for shard in range(3):
        assert digests(made, shard) == digests(saved, shard) == digests(open_data(str(packed)), shard)
    assert digests(saved.select([2, 0]), 1) == digests(saved, 0)


def test_an_index_without_checksums_stays_without_and_one_with_them_keeps_them(packed: Path, tmp_path: Path) -> None:
    urls = [str(path) for path in sorted(packed.glob("*.tar"))]
    plain = join_shards([index_shard(*pair) for pair in zip(urls, found_shards(urls), strict=True)])
    save_index(plain, str(tmp_path))
    index = open_data(str(tmp_path / "index.json"))
    assert (index.has_digests, sample_digests(index, 0)) == (False, None)
    assert not (tmp_path / "index.xxh3.npy").exists()
    assert [sample.digest for sample in read_samples(index, 0, 3, 5)] == [None, None]
    both = mixed([("a", 1, index), ("b", 1, open_data(str(packed)))], "both")
    assert (both.has_digests, sample_digests(both, 2)) == (False, None)
    assert digests(both, 3) == digests(open_data(str(packed)), 0)
    assert not plan_indexing(str(packed / "*.tar"), str(tmp_path)).checksums
    assert plan_indexing(str(packed / "*.tar"), str(tmp_path), checksums=True).checksums
    assert plan_indexing(str(packed / "*.tar"), "").checksums


@given(data=st.data())
def test_any_other_byte_is_noticed(packed: Path, data: st.DataObject) -> None:
    index = open_data(str(packed))
    sample = read_samples(index, 1, 17, 18)[0]
    stretch = bytearray(sample.stretch)
    stretch[data.draw(st.integers(0, len(stretch) - 1))] ^= data.draw(st.integers(1, 255))
    check_digest(sample)
    with pytest.raises(CorruptDataError, match=rf"sample '{sample.key}' has the checksum [0-9a-f]{{16}}, the index says"):
        check_digest(RawSample(*sample[:-2], memoryview(stretch), sample.digest))


def cut(content: bytes) -> bytes:
    return content[:-8]


def flip(content: bytes) -> bytes:
    return content[:-20] + bytes([content[-20] ^ 1]) + content[-19:]


@pytest.mark.parametrize(
    ("damage", "problem"), [(cut, "sidecar has "), (flip, "sidecar's 597 numbers from number 1202 on have the checksum")]
)
def test_damaged_checksums_are_refused_and_condemn_no_sample(
    packed: Path, tmp_path: Path, damage: Callable[[bytes], bytes], problem: str
) -> None:
    index = open_data(str(packed))
    url = save_index(index, str(tmp_path))
    file = tmp_path / "index.xxh3.npy"
    file.write_bytes(damage(file.read_bytes()))
    before = storage.counts().retries.get("read_sidecar", 0)
    with pytest.raises(CorruptDataError, match=problem) as error:
        read_samples(open_data(url), 2, 0, 1)
    assert error.value.uri == str(file)
    assert storage.counts().retries["read_sidecar"] > before
