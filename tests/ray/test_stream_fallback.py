"""Rows that cannot be written into the consumer's memory travel through Ray's object store: the batches are the same bytes."""

import os
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import ray
from numpy.typing import NDArray
from ray.cluster_utils import Cluster
from ray_processes import asked_pids, kill

from pipeline.runtime import feed
from pipeline.runtime.feed import BatchFeed
from pipeline.runtime.loader import Answer, Target
from pipeline.runtime.stream import Stream, stream
from pipeline.shards import open_data
from pipeline.stream import ImageSpec, SliceReader, SlotAddress, StreamConfig, make_order
from pipeline.training import Batch

IMAGE = ImageSpec(size=128, channels=3, num_classes=10, crop="random", flip=True)
CONFIG = StreamConfig(batch_size=24, lanes=6, window=20)
STEPS = 55  # two epochs and a bit


@pytest.fixture(scope="module", autouse=True)
def nodes(cluster: Cluster) -> None:
    """Two nodes for loaders; the consumer is on the head, so what travels goes from one object store to another."""
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=200_000_000)


@pytest.fixture
def travelled(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of every answer: whether its rows came through the object store."""
    seen: list[bool] = []
    images = BatchFeed._images

    def watched(self: BatchFeed, call: feed._Call, answers: list[Answer]) -> NDArray[np.uint8]:
        seen.extend(answer.images is not None for answer in answers)
        return images(self, call, answers)

    monkeypatch.setattr(BatchFeed, "_images", watched)
    return seen


def out_of_reach(is_reached: Callable[[int], bool]) -> Callable[[SlotAddress, int, int], Target]:
    """Makes targets of which some look as on another machine: no such descriptor is there."""

    def target(slot: SlotAddress, rows: int, first_row: int) -> Target:
        return Target(slot if is_reached(first_row) else slot._replace(name="/memfd:of another machine"), rows, first_row)

    return target


def endless(source: Stream) -> Iterator[Batch]:
    while True:
        yield from source


@pytest.mark.parametrize("case", ["shared memory", "no such memory", "out of reach", "one loader out of reach", "killed"])
def test_batches_are_the_same_bytes_however_they_travel(
    noise: str, travelled: list[bool], monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    if case == "no such memory":
        monkeypatch.delattr(os, "memfd_create")
    elif case != "shared memory":
        monkeypatch.setattr(feed, "Target", out_of_reach(lambda first_row: case.startswith("one") and first_row > 0))
    index = open_data(noise)
    reader = SliceReader(index, make_order(index, CONFIG, seed=3), IMAGE, 0, CONFIG.batch_size)
    kept: list[tuple[Batch, bytes]] = []
    with stream(noise, IMAGE, CONFIG, seed=3, num_loaders=3, cpus_per_loader=0.1) as source:
        for step, batch in zip(range(STEPS), endless(source), strict=False):
            expected = reader.batch(step)
            for name in ("images", "labels", "samples", "epochs"):
                np.testing.assert_array_equal(getattr(batch, name).numpy(), getattr(expected, name), f"{name} of step {step}")
            if step % 10 == 0:
                kept.append((batch, batch.images.numpy().tobytes()))
            if case == "killed" and step == 9:
                pids = set(ray.get(asked_pids(source._loaders), timeout=60))  # an earlier case's may still be on their way out
                assert len(pids) == 3
                for pid in pids:
                    kill(pid)
    reader.close()
    for batch, then in kept:  # what a consumer keeps is not written over
        assert batch.images.numpy().tobytes() == then
    share = sum(travelled) / len(travelled)
    assert share == {"shared memory": 0, "one loader out of reach": 1 / 3}.get(case, 1)
