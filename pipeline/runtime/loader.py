"""The loader actor: makes rows of global batches on request; it keeps nothing that a restart would lose."""

import gc
import logging
import secrets
import time
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import numpy as np
import ray
from numpy.typing import NDArray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import RayError

from pipeline.order import Order
from pipeline.runtime.hub import HubAddress, new_tally
from pipeline.runtime.quarantine import QuarantineAddress
from pipeline.runtime.storage_counts import reach_storage_counts
from pipeline.shards import ShardIndex
from pipeline.storage import RangeCache
from pipeline.stream import ImageSpec, SliceReader, SlotAddress, SlotReach
from pipeline.telemetry import IMAGES_STREAMED, LOADER_DEMAND_WAIT_SECONDS, SAMPLES_REPLACED, Tally

REPORT_EVERY_S = 1.0
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
    hub: HubAddress | None = None
    """Where counts go; None where nobody counts."""
    quarantine: QuarantineAddress | None = None
    """Where damaged samples are listed before others take their places; None refuses them."""
    cache: RangeCache | None = None
    """Where ranges are kept on the loader's node; None keeps none."""


class Target(NamedTuple):
    """Where the pixels of an answer go."""

    slot: SlotAddress
    """Memory of the one who asks, uint8 [count, rows, height, width, channels]."""
    rows: int
    """Rows of a batch in it."""
    first_row: int
    """Which of them the answer's first row is."""


class Answer(NamedTuple):
    """Rows of consecutive global batches, one batch after another."""

    images: NDArray[np.uint8] | None
    """uint8 [count, rows, height, width, channels]; None where they are in the slot."""
    labels: NDArray[np.int64]
    """int64 [count, rows]; -1 where no label was asked for."""
    samples: NDArray[np.int64]
    """Number of each sample in the data set, int64 [count, rows]."""
    epochs: NDArray[np.int64]
    """Epoch of each row, int64 [count, rows]."""
    life: int
    """Which life of the actor this is; another number after a restart."""


class Loader:
    """Answers "rows start..stop of batches k, k + 1, ...". Asked again after a restart, it gives the same rows."""

    def __init__(self, args: LoaderArgs) -> None:
        _collect_seldom()
        self._args = args
        self._life = secrets.randbits(63)
        self._hub = None if args.hub is None else args.hub.connect()
        self._tally = Tally(args.name, 0) if self._hub is None else new_tally(self._hub, args.name)
        self._readers: dict[tuple[int, int], SliceReader] = {}
        self._slots = SlotReach()
        # What cannot go into a slot is copied into the object store; fresh memory for every answer would have to be cleared by
        # the kernel each time, which costs as much as the copy.
        self._pixels = np.empty(0, np.uint8)
        self._idle_since: float | None = None
        self._reported_at = 0.0

    def batches(self, start: int, stop: int, step: int, count: int, target: Target | None) -> Answer:
        """Returns rows [start, stop) of the global batches step, step + 1, ..., one batch after another.

        Args:
            start: First row of each batch, inclusive.
            stop: Last row, exclusive.
            step: First batch.
            count: How many batches, at least 1.
            target: Where pixels are to go, if that can be reached from here; else they are in the answer.

        Raises:
            CorruptDataError: More samples than allowed cannot be decoded, or a shard is not what the index says.
            StorageError: A shard cannot be read.
        """
        if self._idle_since is not None:  # before the first request there was nothing to be taken
            self._tally.add(LOADER_DEMAND_WAIT_SECONDS, time.perf_counter() - self._idle_since)
        reader = self._reader(start, stop)
        replaced, rows = reader.replaced, stop - start
        images = None if target is None else self._in_slot(target, count, rows)
        is_shared = images is not None
        if images is None:
            images = self._memory(count, rows)
        parts = [reader.batch(step + i, images[i]) for i in range(count)]
        self._tally.add(SAMPLES_REPLACED, reader.replaced - replaced)
        self._tally.add(IMAGES_STREAMED, count * rows)
        now = time.perf_counter()
        if now - self._reported_at > REPORT_EVERY_S:
            self._report()
            self._reported_at = now
        self._idle_since = time.perf_counter()
        labels, samples, epochs = (np.stack(column) for column in zip(*(part[1:] for part in parts), strict=True))
        return Answer(None if is_shared else images, labels, samples, epochs, self._life)

    def report(self) -> None:
        """Sends the counts to the hub and returns once they are there; without it those of the last second would be lost."""
        if (sent := self._report()) is not None:
            ray.get(sent, timeout=LAST_REPORT_TIMEOUT_S)

    def _report(self) -> ObjectRef | None:
        if self._hub is None:
            return None
        reach_storage_counts(self._tally)
        return self._hub.report.remote(self._tally.report())

    def _reader(self, start: int, stop: int) -> SliceReader:
        if (start, stop) not in self._readers:
            args = self._args
            on_corrupt = None if args.quarantine is None else args.quarantine.add
            self._readers[start, stop] = SliceReader(
                args.index, args.order, args.image, start, stop, on_corrupt=on_corrupt, cache=args.cache
            )
        return self._readers[start, stop]

    def _in_slot(self, target: Target, count: int, rows: int) -> NDArray[np.uint8] | None:
        """uint8 [count, rows, height, width, channels] in the memory of the one who asks, or None."""
        memory = self._slots.memory(target.slot)
        if memory is None:
            return None
        whole = memory[: count * target.rows * self._args.image.image_bytes]
        return whole.reshape(count, target.rows, *self._args.image.shape)[:, target.first_row : target.first_row + rows]

    def _memory(self, count: int, rows: int) -> NDArray[np.uint8]:
        """uint8 [count, rows, height, width, channels] of this process: the same again where it is large enough."""
        size = count * rows * self._args.image.image_bytes
        if len(self._pixels) < size:
            self._pixels = np.empty(size, np.uint8)
        return self._pixels[:size].reshape(count, rows, *self._args.image.shape)


def _collect_seldom() -> None:
    """Keeps Python's search for reference cycles from eating a tenth of the loader's time.

    What loaders make has no cycles, but every full search visits all that Ray and numpy once imported, and what is known of the
    windows at hand.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


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
        _log.warning("the counts of the loaders' last second are missing: %s", error)
