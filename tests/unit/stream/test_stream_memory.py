import numpy as np
import pytest

from pipeline.shards import ShardIndex, ShardInfo
from pipeline.shards.offsets import MemoryOffsets, Offsets, WalkedOffsets
from pipeline.stream import ImageSpec, StreamConfig, loader_memory, make_order

IMAGE = ImageSpec(size=8, channels=3, num_classes=0)


def index_of(sizes: list[list[int]], walked: bool = False) -> ShardIndex:
    """A data set with samples of these sizes, by shard."""
    arrays = tuple(np.concatenate([[0], np.cumsum(shard)]) for shard in sizes)
    shards = tuple(
        ShardInfo(url=f"/{number}.tar", num_samples=len(shard), size_bytes=sum(shard)) for number, shard in enumerate(sizes)
    )
    offsets: Offsets = WalkedOffsets() if walked else MemoryOffsets(arrays)
    return ShardIndex(name="sizes", shards=shards, offsets=offsets)


def large(index: ShardIndex, window: int) -> int:
    order = make_order(index, StreamConfig(batch_size=16, lanes=4, window=window), 0)
    return loader_memory(index, order, IMAGE, num_loaders=1, num_ranks=1, prefetch=1).large


@pytest.mark.parametrize("window", [4, 64])
def test_samples_of_one_size_need_no_more_than_average_ones(window: int) -> None:
    assert large(index_of([[1000] * 200, [1000] * 100]), window) == 0


@pytest.mark.parametrize(("shard", "place"), [(0, 0), (1, 150), (2, 199)])
def test_a_large_sample_is_found_wherever_it_is(shard: int, place: int) -> None:
    sizes = [[1000] * 200 for _ in range(3)]
    sizes[shard][place] = 10**9
    assert 0.98e9 < large(index_of(sizes), 8) / 1.25 <= 1e9
    assert large(index_of(sizes, walked=True), 8) == 0  # it would have to be read for that
