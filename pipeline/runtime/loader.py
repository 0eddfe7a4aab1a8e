"""The loader actor: makes rows of global batches on request; it keeps nothing that a restart would lose."""

import logging
import time
from dataclasses import dataclass, replace
from typing import cast

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import RayError

from pipeline.order import Order
from pipeline.runtime.hub import HubAddress
from pipeline.runtime.quarantine import QuarantineAddress
from pipeline.runtime.storage_counts import reach_storage_counts
from pipeline.shards import ShardIndex
from pipeline.stream import BatchArrays, ImageSpec, SliceReader
from pipeline.telemetry import IMAGES_STREAMED, LOADER_DEMAND_WAIT_SECONDS, SAMPLES_REPLACED, Tally

REPORT_EVERY_S = 0.5
LAST_REPORT_TIMEOUT_S = 10.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderArgs:
    """What a loader is made from; it must still be there when Ray restarts the actor, so no handle is among it."""

    name: str
    """Place of the loader in the job, for metrics."""
    index: ShardIndex
    """The data set."""
    order: Order
    """Its order."""
    image: ImageSpec
    """What images are decoded to."""
    hub: HubAddress
    """Where counts go."""
    quarantine: QuarantineAddress
    """Where damaged samples are listed before others take their places."""


class Loader:
    """Answers "rows start..stop of batch k". Asked again after a restart, it gives the same rows."""

    def __init__(self, args: LoaderArgs) -> None:
        self._args = args
        self._hub = args.hub.connect()
        self._tally = Tally(args.name, time.time_ns())
        self._readers: dict[tuple[int, int], SliceReader] = {}
        self._idle_since = time.perf_counter()
        self._reported_at = 0.0

    def batch(self, start: int, stop: int, step: int) -> BatchArrays:
        """Returns rows [start, stop) of global batch `step`.

        Raises:
            CorruptDataError: More samples than allowed cannot be decoded, or a shard is not what the index says.
            StorageError: A shard cannot be read.
        """
        args = self._args
        self._tally.add(LOADER_DEMAND_WAIT_SECONDS, time.perf_counter() - self._idle_since)
        if (start, stop) not in self._readers:
            self._readers[start, stop] = SliceReader(
                args.index, args.order, args.image, start, stop, on_corrupt=args.quarantine.add
            )
        reader = self._readers[start, stop]
        replaced = reader.replaced
        rows = reader.batch(step)
        self._tally.add(SAMPLES_REPLACED, reader.replaced - replaced)
        self._tally.add(IMAGES_STREAMED, stop - start)
        now = time.perf_counter()
        if now - self._reported_at > REPORT_EVERY_S:
            self._report()
            self._reported_at = now
        self._idle_since = time.perf_counter()
        return rows

    def report(self) -> None:
        """Sends the counts to the hub and returns once they are there; without it the last half second would be lost."""
        ray.get(self._report(), timeout=LAST_REPORT_TIMEOUT_S)

    def _report(self) -> ObjectRef:
        reach_storage_counts(self._tally)
        return self._hub.report.remote(self._tally.report())


def start_loaders(count: int, cpus: float, args: LoaderArgs) -> list[ActorHandle]:
    """Starts loader actors, spread over the cluster, that Ray restarts wherever they die.

    Args:
        count: How many.
        cpus: CPUs reserved for each.
        args: What they are made from; they are named `<args.name>-0` and so on.
    """
    actor = ray.remote(Loader).options(num_cpus=cpus, max_restarts=-1, max_task_retries=-1, scheduling_strategy="SPREAD")
    return [cast(ActorHandle, actor.remote(replace(args, name=f"{args.name}-{i}"))) for i in range(count)]


def report_all(loaders: list[ActorHandle]) -> None:
    """Makes all loaders send their last counts; a loader that cannot any more costs a line in the log, not the job."""
    try:
        ray.get([loader.report.remote() for loader in loaders], timeout=LAST_REPORT_TIMEOUT_S)
    except RayError as error:
        _log.warning("the counts of the loaders' last half second are missing: %s", error)
