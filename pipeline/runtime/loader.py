"""The loader actor: makes rows of global batches on request; it keeps nothing that a restart would lose."""

import time

import ray
from ray.actor import ActorHandle

from pipeline import storage
from pipeline.order import StreamOrder
from pipeline.shards import ShardIndex
from pipeline.stream import BatchArrays, ImageSpec, SliceReader
from pipeline.telemetry import IMAGES_STREAMED, LOADER_DEMAND_WAIT_SECONDS, STORAGE_RETRIES, Tally

REPORT_EVERY_S = 0.5


class Loader:
    """Answers "rows start..stop of batch k". Asked again after a restart, it gives the same rows.

    Args:
        name: Place of the loader in the job, for metrics.
        index: The data set.
        order: Its order.
        image: What images are decoded to.
        hub: Where counts go.
    """

    def __init__(self, name: str, index: ShardIndex, order: StreamOrder, image: ImageSpec, hub: ActorHandle) -> None:
        self._index, self._order, self._image, self._hub = index, order, image, hub
        self._tally = Tally(name, time.time_ns())
        self._readers: dict[tuple[int, int], SliceReader] = {}
        self._idle_since = time.perf_counter()
        self._reported_at = 0.0

    def batch(self, start: int, stop: int, step: int) -> BatchArrays:
        """Returns rows [start, stop) of global batch `step`.

        Raises:
            CorruptDataError: An image or label cannot be decoded.
            StorageError: A shard cannot be read.
        """
        self._tally.add(LOADER_DEMAND_WAIT_SECONDS, time.perf_counter() - self._idle_since)
        if (start, stop) not in self._readers:
            self._readers[start, stop] = SliceReader(self._index, self._order, self._image, start, stop)
        rows = self._readers[start, stop].batch(step)
        self._tally.add(IMAGES_STREAMED, stop - start)
        for operation, count in storage.retries().items():
            self._tally.reach(STORAGE_RETRIES, count, operation=operation)
        now = time.perf_counter()
        if now - self._reported_at > REPORT_EVERY_S:
            self._hub.report.remote(self._tally.report())
            self._reported_at = now
        self._idle_since = time.perf_counter()
        return rows


def start_loaders(
    count: int, cpus: float, index: ShardIndex, order: StreamOrder, image: ImageSpec, hub: ActorHandle
) -> list[ActorHandle]:
    """Starts loader actors, spread over the cluster, that Ray restarts wherever they die."""
    # An order that has planned no epoch yet is small to send.
    actor = ray.remote(num_cpus=cpus, max_restarts=-1, max_task_retries=-1, scheduling_strategy="SPREAD")(Loader)
    return [actor.remote(f"loader-{i}", index, order, image, hub) for i in range(count)]
