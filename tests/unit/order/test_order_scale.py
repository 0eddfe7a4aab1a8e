"""A billion samples in 100,000 shards: the list of shards and the order of any batch within 200 MB."""

import pickle
import tracemalloc

import numpy as np

from pipeline.order import MixtureOrder
from pipeline.shards import DatasetMeta, MixedSource, ShardIndex, ShardInfo
from pipeline.shards.offsets import WalkedOffsets
from pipeline.stream import StreamConfig, make_order

SHARDS, SAMPLES, LIMIT_BYTES = 100_000, 10_000, 200_000_000


def test_a_billion_samples_are_planned_in_little_memory() -> None:
    tracemalloc.start()
    try:
        shards = tuple(
            ShardInfo(
                url=f"s3://bucket/some/folder/train-{n:06d}.tar",
                num_samples=SAMPLES,
                size_bytes=10**9,
                digest="members:" + "0" * 32,
            )
            for n in range(SHARDS)
        )
        index = ShardIndex(name="large", shards=shards, offsets=WalkedOffsets(), meta=DatasetMeta())
        order = make_order(index, StreamConfig(batch_size=1024, window=8192), seed=1)
        for step in (0, 1, 976_562, 5 * 10**8, 10**9):
            rows = order.rows(step)
            assert len(np.unique(rows.sample)) == 1024
            assert rows.sample.max() < SHARDS * SAMPLES
            assert [span.length for _, _, span, _, _ in order.stretches(step, 0, 1024)]
        halves = tuple(MixedSource(name=name, num_shards=SHARDS // 2, weight=w) for name, w in (("a", 7), ("b", 3)))
        mixture = make_order(
            ShardIndex(name="m", shards=shards, offsets=WalkedOffsets(), sources=halves), StreamConfig(batch_size=1024), 1
        )
        assert isinstance(mixture, MixtureOrder)
        assert (mixture.rows(10**9).shard < SHARDS // 2).sum() in (716, 717)
        travelling = len(pickle.dumps((index, order)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < LIMIT_BYTES
    assert travelling < 40_000_000  # what each loader is sent once
