"""Damage on the way while headers and index files are read: it changes no index, and sound shards are read once."""

import hashlib
import io
import json
import logging
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wire import Damage, Wire, flip, same, zeros

from pipeline import storage
from pipeline.errors import CorruptDataError
from pipeline.shards import (
    ShardIndex,
    found_shards,
    index_shard,
    load_index,
    open_data,
    read_samples,
    sample_offsets,
    save_index,
)
from pipeline.shards.digests import digest_samples, digest_shard
from pipeline.shards.mixture import is_mixture, load_mixture
from pipeline.shards.offsets import _walked_offsets
from pipeline.shards.sidecar import encode_sidecar
from pipeline.shards.tar_columns import walk_samples


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two shards of 50 samples of 1,024 bytes and more each."""
    folder = tmp_path / "data"
    folder.mkdir()
    for shard in range(2):
        with tarfile.open(folder / f"t-{shard}.tar", "w") as archive:
            for number in range(50):
                for field, data in (("png", bytes([number + 1]) * 900), ("cls", b"1")):
                    member = tarfile.TarInfo(f"{number:03d}.{field}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    return folder


@pytest.fixture
def wire(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Wire:
    return Wire(monkeypatch)


def told(index: ShardIndex) -> list[object]:
    return [index.fingerprint(), *(sample_offsets(index, shard).tolist() for shard in range(len(index.shards)))]


@pytest.mark.parametrize(
    "damage", [flip(10), flip(2560 * 40 + 130), zeros(2560 * 26), zeros(512), zeros(0), lambda data: b"<html>" * 99]
)
def test_what_is_damaged_on_its_way_once_changes_no_index(
    folder: Path, wire: Wire, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    expected = told(open_data(str(folder)))
    assert wire.readings == {"t-0.tar": 1, "t-1.tar": 1}
    wire.meet("t-1.tar", damage)
    with caplog.at_level(logging.WARNING):
        assert told(open_data(str(folder))) == expected
    assert wire.readings["t-1.tar"] == 3  # two that are alike
    assert not caplog.records


def test_zeros_and_damage_that_are_in_the_shard_are_believed_once_two_readings_tell_them(
    folder: Path, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder / "t-1.tar"
    whole = path.read_bytes()
    path.write_bytes(zeros(2560 * 26)(whole))
    with caplog.at_level(logging.WARNING):
        assert open_data(str(folder)).num_samples == 50 + 26
    assert wire.readings == {"t-0.tar": 1, "t-1.tar": 2}
    assert "1 of 2 shards end with more zeros" in caplog.text
    path.write_bytes(flip(10)(whole))
    wire.meet("t-1.tar")
    with pytest.raises(CorruptDataError, match="checksum is"):
        open_data(str(folder))
    assert wire.readings["t-1.tar"] == 2


def test_a_shard_that_is_told_in_ever_other_ways_is_refused(folder: Path, wire: Wire) -> None:
    wire.meet("t-1.tar", flip(10), zeros(2560 * 26), zeros(2560 * 13), flip(2560 + 3))
    with pytest.raises(CorruptDataError, match=r"4 readings of the shard's headers differ .*t-1\.tar"):
        open_data(str(folder))
    wire.meet("t-1.tar", flip(10), same, zeros(2560 * 13))
    assert open_data(str(folder)).num_samples == 100


def test_a_hole_on_the_way_is_not_kept_where_an_index_has_counts_and_no_offsets(folder: Path, wire: Wire) -> None:
    sizes = [(folder / f"t-{shard}.tar").stat().st_size for shard in range(2)]
    shards = [{"url": f"t-{shard}.tar", "nsamples": 50, "filesize": sizes[shard]} for shard in range(2)]
    (folder / "index.json").write_text(json.dumps({"__kind__": "wids-shard-index-v1", "wids_version": 1, "shardlist": shards}))
    index = open_data(str(folder))
    for damage in (zeros(2560 * 26), zeros(2560 * 49)):  # the latter ends as tars do
        wire.meet("t-1.tar", damage)
        _walked_offsets.cache_clear()
        assert len(sample_offsets(index, 1)) == 51
        assert [sample.key for sample in read_samples(index, 1, 48, 50)] == ["048", "049"]


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize("damage", [cut, flip(0, 7), lambda data: b""])
def test_index_files_that_were_damaged_on_their_way_are_read_again(folder: Path, wire: Wire, damage: Damage) -> None:
    save_index(open_data(str(folder)), str(folder))
    expected = told(open_data(str(folder)))
    for name in ("index.json", "index.versions.json"):
        wire.meet(name, damage)
        assert told(open_data(str(folder))) == expected
    wire.meet("index.json", cut, cut)
    with pytest.raises(CorruptDataError, match="not a shard index"):
        load_index(str(folder / "index.json"))


def test_a_mixture_that_was_damaged_on_its_way_is_read_again(folder: Path, wire: Wire) -> None:
    path = folder.parent / "mix.json"
    path.write_text(json.dumps({"mixture": {"data/t-0.tar": 0.7, "data/t-1.tar": 0.3}}))
    wire.meet("mix.json", cut, same, cut)
    assert is_mixture(str(path))
    assert [weight for *_, weight in load_mixture(str(path))] == [7, 3]


def test_a_bit_that_flips_while_checksums_are_taken_condemns_no_sample(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = (folder / "t-0.tar").read_bytes()
    offsets = sample_offsets(open_data(str(folder)), 0)
    monkeypatch.setattr(storage, "read_range", lambda url, start, end, version: data[start:end])  # of any version
    monkeypatch.setattr("pipeline.shards.digests.PIECE_BYTES", len(data))  # two reads: the samples, and what is behind them
    wire, expected = Wire(monkeypatch), digest_samples(data, offsets).tolist()
    md5, other = hashlib.md5(data, usedforsecurity=False).hexdigest(), "0123456789abcdef" * 2

    def readings(etag: str, *damage: Damage, store: str = "s3://") -> int:
        wire.meet("t-0.tar", *damage)
        whole = digest_shard(f"{store}bucket/t-0.tar", len(data), offsets, etag)
        assert whole.digests.tolist() == expected
        assert whole.md5 in (md5, "")
        return wire.readings["t-0.tar"]

    assert readings(md5) == 2
    assert readings(md5, flip(700)) == 4
    assert readings(md5, same, flip(7)) == 4
    assert readings(other) == 4  # no MD5, though it looks like one
    assert readings(other, flip(700)) == 6
    assert readings(f"{md5}-2") == readings("") == readings("", store="https://") == 1
    assert readings("", store="http://") == 4
    assert readings("", flip(700), store="http://") == 6
    with pytest.raises(
        CorruptDataError, match=rf"4 readings have the MD5s .*expected two alike, or the ETag {other} .*t-0\.tar"
    ):
        readings(other, *(damage for at in range(4) for damage in (flip(at), same)))


def test_a_shards_digest_and_its_samples_checksums_come_from_the_same_bytes(folder: Path) -> None:
    (found,) = found_shards([str(folder / "t-0.tar")])
    made = index_shard(found.url, found, whole=True, checksums=True)
    data = (folder / "t-0.tar").read_bytes()
    assert made.info.digest == f"md5:{hashlib.md5(data, usedforsecurity=False).hexdigest()}"
    assert made.digests is not None
    assert made.digests.tolist() == digest_samples(data, made.offsets).tolist()
    assert index_shard(found.url, found, whole=True).digests is None


@pytest.mark.parametrize("number", [0, 10, 25, 49, 50, 51])
def test_offsets_with_any_bit_wrong_are_damage(folder: Path, number: int) -> None:
    save_index(open_data(str(folder)), str(folder))
    index, good = open_data(str(folder)), np.load(folder / "index.offsets.npy")
    for bit in range(64):
        bad = good.copy()
        bad[5 + number : 6 + number].view(np.uint64)[0] ^= np.uint64(1 << bit)
        np.save(folder / "index.offsets.npy", bad)
        for shards in ([0], [1, 0]):
            with pytest.raises(CorruptDataError, match=r"51 numbers from number 0 on have the checksum .*index\.offsets\.npy"):
                sample_offsets(index.select(shards), len(shards) - 1)
        assert len(sample_offsets(index, 1)) == 51


def test_offsets_at_another_member_are_read_again(folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    save_index(open_data(str(folder)), str(folder))
    index, read_range = open_data(str(folder)), storage.read_range
    asked = []

    def moved_once(url: str, start: int, end: int, **more: Any) -> Any:
        data = np.frombuffer(bytes(read_range(url, start, end, **more)), "<i8").copy()
        if start:
            asked.append(end - start)
            data[10] += 1536 * (len(asked) == 1)  # the header of the sample's second member
        return data.tobytes()

    good = np.load(folder / "index.offsets.npy")[5 : 5 + 51]
    monkeypatch.setattr(storage, "read_range", moved_once)
    assert sample_offsets(index, 0).tolist() == sample_offsets(index, 0).tolist() == good.tolist()
    assert asked == [52 * 8, 52 * 8]


@pytest.mark.parametrize(
    ("at", "wrong", "problem"),
    [
        (slice(49, 51), (2**62 + 2**61, -(2**62) - 2**61), "do not rise"),  # their difference wraps around
        (10, 1, "do not rise"),
        (0, 1, "are not all at blocks of 512 bytes"),
        (50, 2**40, "do not rise"),
    ],
)
def test_offsets_that_cannot_be_are_damage_though_sealed(folder: Path, at: Any, wrong: Any, problem: str) -> None:
    index = open_data(str(folder))
    arrays = [sample_offsets(index, shard).copy() for shard in range(2)]
    save_index(index, str(folder))
    arrays[0][at] = wrong
    (folder / "index.offsets.npy").write_bytes(encode_sidecar(index.fingerprint(), arrays))
    with pytest.raises(CorruptDataError, match=rf"offsets {problem} .*t-0\.tar"):
        read_samples(open_data(str(folder)), 0, 0, 50)


def test_a_sample_that_ends_inside_a_header_is_left_to_the_careful_walk() -> None:
    assert walk_samples(memoryview(header := tarfile.TarInfo("a.png").tobuf() + b"\0"), np.array([0, len(header)])) is None
