"""Loaders and a whole node killed in mid-epoch: the batches that come are those of an undisturbed run, byte for byte."""

import contextlib
import hashlib
from collections.abc import Iterator

import pytest
import ray
from ray.cluster_utils import Cluster
from ray_processes import actor_pids, asked_pids, kill

from pipeline.runtime.stream import Stream, stream
from pipeline.shards import open_data
from pipeline.stream import BatchArrays, ImageSpec, SliceReader, StreamConfig, make_order
from pipeline.training import Batch

IMAGE = ImageSpec(size=8, channels=1, num_classes=10)
CONFIG = StreamConfig(batch_size=24, lanes=6, window=50)
STEPS = 150  # two epochs


@pytest.fixture(scope="module")
def undisturbed(digits: str) -> list[str]:
    """Digests of the batches as they should be, made without Ray."""
    index = open_data(digits)
    reader = SliceReader(index, make_order(index, CONFIG, seed=5), IMAGE, 0, CONFIG.batch_size)
    digests = [digest(reader.batch(step)) for step in range(STEPS)]
    reader.close()
    return digests


def digest(batch: BatchArrays | Batch) -> str:
    hashed = hashlib.sha256()
    for column in (batch.images, batch.labels, batch.samples, batch.epochs):
        hashed.update(bytes(memoryview(column if isinstance(batch, BatchArrays) else column.numpy()).cast("B")))  # type: ignore[union-attr, arg-type]
    return hashed.hexdigest()


def endless(source: Stream) -> Iterator[Batch]:
    while True:
        yield from source


def test_loaders_killed_again_and_again(cluster: Cluster, digits: str, undisturbed: list[str]):
    node = cluster.add_node(num_cpus=2)
    killed = 0
    with stream(digits, IMAGE, CONFIG, seed=5, num_loaders=3, cpus_per_loader=0.1) as source:
        for step, batch in zip(range(STEPS), endless(source), strict=False):
            assert digest(batch) == undisturbed[step]
            if step in (10, 11, 60, 100):
                for pid in actor_pids("Loader"):
                    with contextlib.suppress(ProcessLookupError):  # already on its way out
                        kill(pid)
                        killed += 1
    cluster.remove_node(node)  # before anything can fail: the next test counts on its own node alone
    assert killed >= 4, "hardly any loader was there to be killed"  # the last kill's loaders may still be on their way back


def test_a_node_killed_in_mid_epoch(cluster: Cluster, digits: str):
    index = open_data(digits)
    reader = SliceReader(index, make_order(index, CONFIG, seed=5), IMAGE, 0, CONFIG.batch_size)
    doomed = cluster.add_node(num_cpus=2)
    with stream(digits, IMAGE, CONFIG, seed=5, num_loaders=3, cpus_per_loader=0.1) as source:
        batches = enumerate(endless(source))

        def next_is_right() -> None:
            step, batch = next(batches)
            assert digest(batch) == digest(reader.batch(step))

        for _ in range(40):
            next_is_right()
        loaders = source._loaders
        before = set(ray.get(asked_pids(loaders), timeout=60))
        assert len(before) == 3
        other = cluster.add_node(num_cpus=2)
        cluster.remove_node(doomed, allow_graceful=False)  # SIGKILL to the raylet, with which its workers die
        asked = asked_pids(loaders)
        while len(ray.wait(asked, num_returns=3, timeout=0.05)[0]) < 3 or before & set(ray.get(asked)):
            if not ray.wait(asked, num_returns=3, timeout=0)[1]:
                asked = asked_pids(loaders)  # some of them live on for a moment after their raylet
            next_is_right()
        for _ in range(300):  # more than was asked for in advance
            next_is_right()
    reader.close()
    cluster.remove_node(other)
