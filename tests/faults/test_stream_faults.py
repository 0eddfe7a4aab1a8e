"""The stream over a server that misbehaves: batches are those of the same shards on disk, byte for byte."""

from pathlib import Path

import numpy as np
import pytest
from flaky import FlakyServer

from pipeline import storage
from pipeline.shards import CENTER, open_data, open_source, pack, read_samples, sample_offsets
from pipeline.storage import ranges, retry
from pipeline.stream import BatchArrays, ImageSpec, SliceReader, StreamConfig, make_order
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


def test_what_was_garbled_on_its_way_is_read_once_more(flaky: FlakyServer, served: Path) -> None:
    expected = batches(str(served))
    index = open_data("s3://bucket/data")
    for shard in range(6):  # a window is read twice at most: its samples are to be garbled, not the offsets before them
        sample_offsets(index, shard)
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
    image = bytearray(sound.fields["png"])
    image[len(image) // 2] ^= 0x10
    garbled = sound._replace(fields={**sound.fields, "png": memoryview(image)})
    expected, found = np.zeros((2, 8, 8, 1), np.uint8)
    number = int(index.starts[2]) + 7
    before = storage.counts().retries.get("decode", 0)
    assert maker.fill(garbled, 0, number, CENTER, found) == maker.fill(sound, 0, number, CENTER, expected)
    assert np.array_equal(found, expected)
    assert (maker.replaced, storage.counts().retries["decode"] - before) == (0, 1)
