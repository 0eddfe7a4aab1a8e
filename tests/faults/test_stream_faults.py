"""The stream over a server that misbehaves: batches are those of the same shards on disk, byte for byte."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flaky import FlakyServer

from pipeline import storage
from pipeline.errors import CorruptDataError
from pipeline.shards import CENTER, open_data, open_source, pack, read_samples, read_sound_samples, save_index, sidecar
from pipeline.storage import ranges, retry
from pipeline.stream import BatchArrays, CorruptSample, ImageSpec, SliceReader, StreamConfig, make_order
from pipeline.stream.rows import RowMaker

IMAGE = ImageSpec(size=8, channels=1, num_classes=10)
CONFIG = StreamConfig(batch_size=48, lanes=6, window=60)
STEPS = 60


def batches(data: str) -> list[BatchArrays]:
    index = open_data(data)
    reader = SliceReader(index, make_order(index, CONFIG, seed=3), IMAGE, 0, CONFIG.batch_size)
    try:
        return [reader.batch(step) for step in range(STEPS)]
    finally:
        reader.close()


def same(found: list[BatchArrays], expected: list[BatchArrays]) -> bool:
    return all(np.array_equal(a, b) for x, y in zip(found, expected, strict=True) for a, b in zip(x, y, strict=True))


@pytest.fixture
def served(flaky: FlakyServer) -> Path:
    pack(open_source("digits"), str(flaky.folder / "data"), shard_size=300)
    return flaky.folder / "data"


@pytest.mark.parametrize("by", ["s3", "http"])
def test_batches_over_a_server_with_every_fault(
    flaky: FlakyServer, served: Path, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurried = retry.RetryPolicy(first_delay_s=0.01, longest_delay_s=0.2, total_s=30.0)
    monkeypatch.setattr(ranges.fetch_range, "__defaults__", ("", hurried))
    expected = batches(str(served))
    url = "s3://bucket/data" if by == "s3" else f"{flaky.http_url}/bucket/data/index.json"
    flaky.meet(cut=0.1, reset=0.1, error=0.1, slow_down=0.05, delay=0.05, too_little=0.1, other_range=0.05)
    assert same(batches(url), expected)
    assert sum(flaky.met().values()) > 10


def test_no_bit_that_was_flipped_on_its_way_reaches_a_batch(flaky: FlakyServer, served: Path) -> None:
    """Most such images decode all the same; it is the checksums that tell, and they and the offsets may be hit as well."""
    expected = batches(str(served))
    flaky.meet(flip=0.04)  # four in a row, after which a sample counts as damaged, come once in ten thousand runs
    assert same(batches("s3://bucket/data"), expected)
    assert flaky.met()["flip"] > 0


def test_bits_flipped_in_the_shard_itself_are_damage(served: Path) -> None:
    index = open_data(str(served))
    order = make_order(index, CONFIG, seed=3)
    sound = read_samples(index, 2, 7, 8)[0]
    shard = bytearray((served / "shard-000002.tar").read_bytes())
    label = bytes(sound.stretch).index(bytes(sound.fields["cls"]) + b"\0", 512)
    shard[sound.offset + label] = ord("0") + (int(sound.fields["cls"].tobytes()) + 1) % 10
    path = served / "shard-000002.tar"
    times = path.stat()
    path.write_bytes(shard)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    damaged: list[CorruptSample] = []
    maker = RowMaker(index, order, IMAGE, damaged.append)
    number = int(index.starts[2]) + 7
    maker.fill(read_samples(index, 2, 7, 8)[0], 0, number, CENTER, np.zeros((8, 8, 1), np.uint8))
    (found,) = damaged
    assert (found.key, maker.replaced) == (sound.key, 1)
    assert found.reason.startswith(f"sample '{sound.key}' has the checksum ")
    with pytest.raises(CorruptDataError, match="has the checksum"):
        read_sound_samples(index, 2, 0, 20)


def test_what_was_garbled_on_its_way_is_read_once_more(flaky: FlakyServer, served: Path) -> None:
    expected = batches(str(served))
    before = storage.counts().retries.get("read_samples", 0)
    flaky.meet(garble_once=1.0)
    assert same(batches("s3://bucket/data"), expected)
    assert storage.counts().retries["read_samples"] - before > 10
    assert flaky.met()["garble once"] > 10


def test_an_image_that_was_garbled_on_its_way_is_read_once_more_and_not_replaced(tmp_path: Path) -> None:
    pack(open_source("digits"), str(tmp_path), shard_size=300)
    index = open_data(str(tmp_path))
    order = make_order(index, CONFIG, seed=3)
    maker = RowMaker(index, order, IMAGE, None)
    sound = read_samples(index, 2, 7, 8)[0]
    stretch = bytearray(sound.stretch)
    at = stretch.index(sound.fields["png"])
    stretch[at + len(sound.fields["png"]) // 2] ^= 0x10
    image = memoryview(stretch)[at : at + len(sound.fields["png"])]
    garbled = sound._replace(fields={**sound.fields, "png": image}, stretch=memoryview(stretch))
    expected, found = np.zeros((2, 8, 8, 1), np.uint8)
    number = int(index.starts[2]) + 7
    before = storage.counts().retries.get("decode", 0)
    assert maker.fill(garbled, 0, number, CENTER, found) == maker.fill(sound, 0, number, CENTER, expected)
    assert np.array_equal(found, expected)
    assert (maker.replaced, storage.counts().retries["decode"] - before) == (0, 1)


@pytest.mark.parametrize("bit", range(0, 18))
def test_no_bit_of_an_offset_that_flips_on_its_way_condemns_a_sample(
    tmp_path: Path, bit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(open_source("digits"), str(tmp_path), shard_size=300)
    packed = open_data(str(tmp_path))
    for name in ("index.json", "index.xxh3.npy"):
        (tmp_path / name).unlink()
    save_index(open_data(str(tmp_path)), str(tmp_path))  # without checksums, which would tell
    order = make_order(packed, StreamConfig(batch_size=30, lanes=1, window=10), seed=5)
    read_range, flips = storage.read_range, [0]

    def flipped_once(url: str, start: int, end: int, **more: Any) -> Any:
        data = read_range(url, start, end, **more)
        if not url.endswith("offsets.npy") or end - start != 302 * 8 or not flips[0]:
            return data
        numbers = np.frombuffer(bytes(data), "<i8").copy()
        numbers[flips.pop()] ^= 1 << bit
        flips.append(0)
        return memoryview(numbers.tobytes())

    monkeypatch.setattr(storage, "read_range", flipped_once)
    for number in (10, 20, 30, 40, 50):  # where windows end
        monkeypatch.setattr(sidecar, "_kept", sidecar._Kept())
        flips[0], damaged = number, []
        reader = SliceReader(open_data(str(tmp_path)), order, IMAGE, 0, 30, on_corrupt=damaged.append)
        try:
            found = [reader.batch(step) for step in range(12)]
        finally:
            reader.close()
        assert not damaged
        assert reader.replaced == 0
        assert sum(len(batch.labels) for batch in found) == 360
